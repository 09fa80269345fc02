"""Filters that some requests go past, by what filters before have noted in their metadata."""

from betterproto2 import Message
from envoy_data_plane.envoy.config.core import v3 as core
from envoy_data_plane.envoy.extensions.common.matching import v3 as matching
from envoy_data_plane.envoy.extensions.filters.common.matcher.action import v3 as actions
from envoy_data_plane.envoy.extensions.matching.common_inputs.network import v3 as inputs
from envoy_data_plane.envoy.extensions.matching.input_matchers.metadata import v3 as metadata_matcher
from envoy_data_plane.envoy.type.matcher import v3 as matcher
from envoy_data_plane.google import protobuf
from envoy_data_plane.xds.core import v3 as xds_core
from envoy_data_plane.xds.type.matcher import v3 as xds

from extproc.envoy.parts import packed

_Predicate = xds.MatcherMatcherListPredicate


def unless(
    space: str, key: str, value: matcher.ValueMatcher, filter_config: protobuf.Any, *, inverted: bool = False
) -> matching.ExtensionWithMatcher:
    """A filter that requests go past whose metadata has such a value; `inverted`: whose metadata has not."""
    path = [inputs.DynamicMetadataInputPathSegment(key=key)]
    noted = _Predicate(
        single_predicate=xds.MatcherMatcherListPredicateSinglePredicate(
            input=_extension("envoy.matching.inputs.dynamic_metadata", inputs.DynamicMetadataInput(space, path)),
            custom_match=_extension("envoy.matching.matchers.metadata_matcher", metadata_matcher.Metadata(value=value)),
        )
    )
    past = xds.MatcherMatcherListFieldMatcher(
        predicate=_Predicate(not_matcher=noted) if inverted else noted,
        on_match=xds.MatcherOnMatch(action=_extension("skip", actions.SkipFilter())),
    )
    return matching.ExtensionWithMatcher(
        xds_matcher=xds.Matcher(matcher_list=xds.MatcherMatcherList(matchers=[past])),
        extension_config=core.TypedExtensionConfig(name="inner", typed_config=filter_config),
    )


def _extension(name: str, config: Message) -> xds_core.TypedExtensionConfig:
    return xds_core.TypedExtensionConfig(name=name, typed_config=packed(config))
