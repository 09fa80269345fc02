"""The filter by which Envoy counts the tokens of answers that pass: `usage: {passed: envoy}`.

Rule: only in exchanges whose request the sidecar has marked so, since Envoy 1.40 never ends an answer that this filter
has counted and a filter behind it reads; and only where the configuration wants it, since Envoy calls it work in
progress, neither stable nor looked after by its security team (Envoy 1.40, 2026).
"""

from collections.abc import Iterable
from typing import Final

from envoy_data_plane.envoy.extensions.filters.http.ai_protocol_manager import v3 as manager
from envoy_data_plane.envoy.extensions.filters.network.http_connection_manager import v3 as hcm
from envoy_data_plane.envoy.type.matcher import v3 as matcher

from extproc.envoy.parts import packed
from extproc.envoy.rendering import spelled
from extproc.envoy.unless import unless
from extproc.providers import Provider
from extproc.terms.agreed import COUNTED_BY_ENVOY, COUNTING, NAMESPACE

COUNTING_FILTER: Final = "ai_proxy.counting"


def is_wanted(providers: Iterable[Provider]) -> bool:
    return any(provider.usage.passed == "envoy" for provider in providers)


def counting(*, wanted: bool) -> list[hcm.HttpFilter]:
    """Behind the sidecar's filter, so that answers come by here first; none where no provider wants it."""
    if not wanted:
        return []
    # Of its configuration envoy-data-plane 2.2 has the name alone.
    filter_config = spelled(
        manager.AiProtocolManager,
        {
            "response_handling": {
                "token_usage": {"include_unconfigured_routes": True, "usage_signal": "SYNTHESIZE_TRAILERS"}
            }
        },
    )
    marked = matcher.ValueMatcher(string_match=matcher.StringMatcher(exact=COUNTED_BY_ENVOY))
    config = unless(NAMESPACE, COUNTING, marked, filter_config, inverted=True)
    return [hcm.HttpFilter(name=COUNTING_FILTER, typed_config=packed(config))]
