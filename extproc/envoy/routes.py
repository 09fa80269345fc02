"""The route table: where requests go.

Rule: whatever goes wrong, no request leaves untranslated. In listener placement a request for which the sidecar named
no cluster has nowhere to go; in upstream placement every cluster that a route names has the filter in it.

Upstream placement renders the configuration's own routes, first match wins, as Envoy's. What no provider is to get
(lists of models, paths without an API, refusals, models that no route takes) goes to `LOCAL_ROUTE`, which names no
cluster and has the filter in front: the sidecar answers it with the code that answers it in listener placement.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
import re
from typing import Final, Protocol

from envoy_data_plane.envoy.config.route import v3 as route_v3
from envoy_data_plane.envoy.extensions.filters.http.buffer import v3 as buffer
from envoy_data_plane.envoy.extensions.filters.http.cors import v3 as cors
from envoy_data_plane.envoy.extensions.filters.http.ext_proc import v3 as ext_proc
from envoy_data_plane.envoy.extensions.retry.priority.previous_priorities import v3 as previous_priorities
from envoy_data_plane.envoy.type.matcher import v3 as matcher
from envoy_data_plane.google import protobuf

from extproc.config.config import Backoff, Config, Match, Retry, Route
from extproc.envoy.chains import chain_name
from extproc.envoy.known import KNOWN_FILTER, keys_of
from extproc.envoy.options import Options
from extproc.envoy.parts import packed, regex, string_match
from extproc.envoy.processor import FILTER, LOCAL_FILTER, processing_mode
from extproc.exchange import routing
from extproc.terms.agreed import AGAIN_HEADER, BODY, CLUSTER_HEADER, LOCAL_ROUTE, UNREAD_ROUTE, envoy_buffer
from extproc.terms.call import JSON_APIS
from extproc.text.patterns import host_regex

BODY_FILTER: Final = "envoy.filters.http.json_to_metadata"
BUFFER_FILTER: Final = "envoy.filters.http.buffer"
"""Awaits a body where nobody looks into it in front of the routes. Off unless a route switches it on."""

_UNSEEN: Final = "connect-failure,reset-before-request"
"""When the vendor has seen nothing of a request: no connection came about, or a kept one broke before a byte was sent.
Whoever tries again then pays for nothing twice."""

_LEAST: Final = 0.001
"""Seconds. Envoy counts milliseconds, and takes none for no limit."""

_EVERY_5XX = range(500, 600)
_METHODS = "DELETE|GET|HEAD|PATCH|POST|PUT"


def route_configuration(config: Config, options: Options) -> route_v3.RouteConfiguration:
    """The whole table."""
    result = frame(config, options)
    result.virtual_hosts[0].routes = [route for part in parts(config, options) for route in part.routes()]
    return result


def frame(config: Config, options: Options) -> route_v3.RouteConfiguration:
    """The table without its routes."""
    upstream = options.placement == "upstream"
    known = {KNOWN_FILTER: packed(keys_of(config))} if upstream and config.clients else {}
    return route_v3.RouteConfiguration(
        name="ai_proxy",
        virtual_hosts=[
            route_v3.VirtualHost(
                name="ai_proxy",
                domains=["*"],
                include_request_attempt_count=upstream,
                typed_per_filter_config={**_cors_policy(config.cors_origins), **known},
                # x-envoy-external-address and x-envoy-internal are Envoy's own notes about the client.
                request_headers_to_remove=[
                    CLUSTER_HEADER,
                    "x-forwarded-for",
                    "x-forwarded-proto",
                    "x-forwarded-host",
                    "x-forwarded-port",
                    "x-real-ip",
                    "forwarded",
                    "x-envoy-external-address",
                    "x-envoy-internal",
                ],
                # What a vendor says of its own origin is not true of this one.
                response_headers_to_remove=[
                    AGAIN_HEADER,
                    "alt-svc",
                    "strict-transport-security",
                    "access-control-allow-origin",
                    "access-control-allow-credentials",
                    "access-control-allow-headers",
                    "access-control-allow-methods",
                    "access-control-expose-headers",
                    "access-control-max-age",
                ],
            )
        ],
    )


class Part(Protocol):
    """Some routes in a row. Equal parts have equal routes, so that a change renders only what it changed."""

    def __hash__(self) -> int: ...

    def routes(self) -> Iterator[route_v3.Route]:
        """In their order."""


def parts(config: Config, options: Options) -> Iterator[Part]:
    """All routes in their order."""
    return _upstream(config) if options.placement == "upstream" else iter([_Listener(config.stream_idle_timeout)])


# Listener placement


@dataclass(frozen=True)
class _Listener:
    """Without the header there is no such cluster, and Envoy answers 500. (A last route with a direct response would
    say that more plainly, but the CORS filter is bypassed for those.)"""

    idle_timeout: float

    def routes(self) -> Iterator[route_v3.Route]:
        upload = route_v3.RouteMatch(prefix="/", headers=_upload_headers())
        yield _route("ai_proxy:upload", upload, _named_by_header(self.idle_timeout), {FILTER: _streamed()})
        read = _named_by_header(self.idle_timeout)
        read.retry_policy = route_v3.RetryPolicy(retry_on=_UNSEEN, num_retries=1, retry_back_off=_back_off(Backoff()))
        yield _route("ai_proxy:read", route_v3.RouteMatch(prefix="/"), read)


def _named_by_header(idle_timeout: float) -> route_v3.RouteAction:
    return route_v3.RouteAction(
        cluster_header=CLUSTER_HEADER,
        cluster_not_found_response_code=route_v3.RouteActionClusterNotFoundResponseCode.INTERNAL_SERVER_ERROR,
        timeout=timedelta(0),
        idle_timeout=timedelta(seconds=idle_timeout),
    )


# Upstream placement


def _upstream(config: Config) -> Iterator[Part]:
    original = any(provider.protocol == "original" for provider in config.providers)
    yield _Doors(config.stream_idle_timeout, original)
    routes = [_given(config, route) for route in config.effective_routes]
    for given in routes:
        if given.lists_models:
            yield _Lists(given)
    yield _Unread(config.stream_idle_timeout)
    # Envoy looks at a request's first route alone to see whether to read its body, so the routes before the first one
    # that asks for the body do without: reading it costs Envoy more than all else it does with a long one.
    reads = False
    for given in routes:
        reads = reads or given.asks_body
        yield replace(given, awaited=None) if reads else given
    for given in routes:  # the vendor lists its models, and no route takes what names none
        if given.route.match.models is not None and given.route.provider and not given.lists_models:
            yield _Lists(given)
    yield _Rest(config.stream_idle_timeout)


@dataclass(frozen=True)
class _Doors:
    """What no route is asked about. `original`: some vendor is spoken to as it is, under any path."""

    idle_timeout: float
    original: bool

    def routes(self) -> Iterator[route_v3.Route]:
        no_body = _unread()  # a tunnel's has no end
        for match in (
            route_v3.RouteMatch(connect_matcher=route_v3.RouteMatchConnectMatcher()),
            _match(headers=[_method(_METHODS, invert=True)]),
        ):
            yield _local(self.idle_timeout, match, no_body)
        if not self.original:
            yield _local(self.idle_timeout, _match(headers=[_path_matches(_SOME_API, invert=True)]))


@dataclass(frozen=True)
class _Unread:
    """Envoy's reader of JSON refuses what is legal, half of a surrogate pair and numbers beyond a double: no route may
    be passed by for that."""

    idle_timeout: float

    def routes(self) -> Iterator[route_v3.Route]:
        yield _route(UNREAD_ROUTE, _match(metadata=[_metadata("unread", _TRUE)]), _named_by_header(self.idle_timeout))


@dataclass(frozen=True)
class _Rest:
    """What no route took."""

    idle_timeout: float

    def routes(self) -> Iterator[route_v3.Route]:
        yield _local(self.idle_timeout, _match())


def _given(config: Config, route: Route) -> "_Given":
    retry, chain = config.retry_of(route), route.chains[0][1]
    return _Given(
        said=repr(route),
        route=route,
        retry=retry,
        idle_timeout=config.stream_idle_timeout,
        again=any(config.by_id[step.provider].has_paths for step in chain),
        one_key=len(chain) == 1 and len(config.by_id[chain[0].provider].tokens) < 2,
        awaited=envoy_buffer(config.max_body_bytes),
        lists_models=routing.declared_models(config, route) is not None,
    )


@dataclass(frozen=True)
class _Given:
    """A route of the configuration, and all that its routes in Envoy depend on. `said`: the route as text, `again`: an
    answer may ask for another try, `one_key`: nobody else is there to be asked, `awaited`: bytes up to which a body is
    awaited whole, None where it is read, `lists_models`: the sidecar knows the models of this route."""

    said: str
    route: Route = field(compare=False)
    retry: Retry
    idle_timeout: float
    again: bool
    one_key: bool
    awaited: int | None
    lists_models: bool

    @property
    def asks_body(self) -> bool:
        """Whether it takes a request's model, or its wish for a stream, to know what becomes of it on this route."""
        return self.route.match.models is not None or (self.route.provider is not None and _streams_apart(self.retry))

    def routes(self) -> Iterator[route_v3.Route]:
        route = self.route
        taken = _conditions(route.match, models=True)
        if route.provider is None:
            yield _local(self.idle_timeout, taken)
            return
        if route.match.models is None:
            upload = _conditions(route.match, headers=_upload_headers())
            filters = {FILTER: _streamed(), **_unread()}
            once = self.retry.model_copy(update={"attempts": 1})  # nobody keeps what streams past
            yield _provider_route(route.name, upload, _action(self, once, once.per_try_timeout), filters)
        body = {} if self.awaited is None else _awaited(self.awaited)
        if _streams_apart(self.retry):
            streamed = _match(taken.prefix, taken.headers, [*taken.dynamic_metadata, _metadata("stream", _TRUE)])
            yield _provider_route(route.name, streamed, _action(self, self.retry, self.retry.first_byte_timeout), body)
        yield _provider_route(route.name, taken, _action(self, self.retry, self.retry.per_try_timeout), body)


@dataclass(frozen=True)
class _Lists:
    """Who lists the models of a route: the sidecar, or the vendor."""

    given: _Given

    def routes(self) -> Iterator[route_v3.Route]:
        given, match = self.given, _conditions(self.given.route.match, headers=_MODEL_LIST)
        if given.lists_models:
            yield _local(given.idle_timeout, match)
        else:
            yield _provider_route(given.route.name, match, _action(given, given.retry, given.retry.per_try_timeout), {})


def _local(
    idle_timeout: float, match: route_v3.RouteMatch, filters: Mapping[str, protobuf.Any] | None = None
) -> route_v3.Route:
    return _route(LOCAL_ROUTE, match, _named_by_header(idle_timeout), filters)


def _provider_route(
    name: str, match: route_v3.RouteMatch, action: route_v3.RouteAction, filters: Mapping[str, protobuf.Any]
) -> route_v3.Route:
    """The filter in front is switched off by itself, not by Envoy: Envoy looks only at the first route that a request
    had, which without its model may have been the local one."""
    off = packed(ext_proc.ExtProcPerRoute(disabled=True))
    return _route(name, match, action, {LOCAL_FILTER: off, **filters})


def _unread() -> dict[str, protobuf.Any]:
    """Of a route: Envoy does not look into the bodies of its requests."""
    return {BODY_FILTER: packed(route_v3.FilterConfig(disabled=True))}


def _awaited(limit: int) -> dict[str, protobuf.Any]:
    """Of a route: as unread, but a body is there as a whole before Envoy turns to the vendor. A client with a slow line
    would hold a connection that the vendor gives up."""
    whole = buffer.Buffer(max_request_bytes=limit)
    return {**_unread(), BUFFER_FILTER: packed(buffer.BufferPerRoute(buffer=whole))}


def _streams_apart(retry: Retry) -> bool:
    """Streams have a route of their own where they have a timeout of their own."""
    return retry.first_byte_timeout != retry.per_try_timeout


def _action(given: _Given, retry: Retry, try_timeout: float | None) -> route_v3.RouteAction:
    action = route_v3.RouteAction(timeout=timedelta(0), idle_timeout=timedelta(seconds=given.idle_timeout))
    action.retry_policy = _retry_policy(given, retry, try_timeout)
    chains = given.route.chains
    if len(chains) == 1:
        action.cluster = chain_name(chains[0][1])
    else:
        action.weighted_clusters = route_v3.WeightedCluster(
            clusters=[
                route_v3.WeightedClusterClusterWeight(name=chain_name(chain), weight=weight) for weight, chain in chains
            ]
        )
    return action


def _retry_policy(given: _Given, retry: Retry, try_timeout: float | None) -> route_v3.RetryPolicy:
    statuses = {on for on in retry.on if isinstance(on, int)}
    conditions = []
    if "connect" in retry.on:
        conditions.append(_UNSEEN)
    if "reset" in retry.on or "timeout" in retry.on:  # Envoy does not tell an attempt's timeout from a reset
        conditions.append("reset")
    if "5xx" in retry.on:
        statuses |= set(_EVERY_5XX)  # Envoy's own `5xx` would mean resets too
    if statuses:
        conditions.append("retriable-status-codes")
    if given.again:
        conditions.append("retriable-headers")
    policy = route_v3.RetryPolicy(
        retry_on=",".join(conditions),
        retriable_status_codes=sorted(statuses),
        retriable_headers=[route_v3.HeaderMatcher(name=AGAIN_HEADER, present_match=True)] if given.again else [],
        num_retries=(retry.attempts or 1) - 1,
        per_try_timeout=timedelta(seconds=max(try_timeout, _LEAST)) if try_timeout else None,
        retry_back_off=_back_off(retry.backoff),
    )
    if len(given.route.chains[0][1]) > 1:
        policy.retry_priority = route_v3.RetryPolicyRetryPriority(
            name="envoy.retry_priorities.previous_priorities",
            typed_config=packed(previous_priorities.PreviousPrioritiesConfig(update_frequency=1)),
        )
    elif given.one_key:  # wait as long as the vendor says
        policy.rate_limited_retry_back_off = route_v3.RetryPolicyRateLimitedRetryBackOff(
            reset_headers=[
                route_v3.RetryPolicyResetHeader(
                    name="retry-after", format=route_v3.RetryPolicyResetHeaderFormat.SECONDS
                )
            ],
            max_interval=timedelta(seconds=retry.backoff.retry_after_max),
        )
    return policy


def _back_off(backoff: Backoff) -> route_v3.RetryPolicyRetryBackOff:
    base = max(backoff.base, _LEAST)
    return route_v3.RetryPolicyRetryBackOff(
        base_interval=timedelta(seconds=base), max_interval=timedelta(seconds=max(backoff.max, base))
    )


# What both have in common


def _route(
    name: str,
    match: route_v3.RouteMatch,
    action: route_v3.RouteAction,
    filters: Mapping[str, protobuf.Any] | None = None,
) -> route_v3.Route:
    return route_v3.Route(
        name=name,
        match=match,
        route=action,
        typed_per_filter_config=dict(filters or {}),
    )


def _streamed() -> protobuf.Any:
    """The request's body streams past the sidecar."""
    mode = processing_mode(ext_proc.ProcessingModeBodySendMode.NONE)
    return packed(ext_proc.ExtProcPerRoute(overrides=ext_proc.ExtProcOverrides(processing_mode=mode)))


def _upload_headers() -> list[route_v3.HeaderMatcher]:
    """Bodies that are streamed past the sidecar: neither JSON by their type nor by their API.

    They have a route of their own because Envoy holds what arrives before the sidecar's first answer, and where it
    expects to buffer the body it refuses (413) one that outgrows the buffer meanwhile; else it reads no further.
    """
    json_type = r"(?i)\s*(application/json|[^;]*\+json)?\s*(;.*)?"
    json_api = rf"[^?]*/({'|'.join(map(re.escape, sorted(JSON_APIS)))})/*(\?.*)?"
    return [
        route_v3.HeaderMatcher(name="content-type", present_match=True),
        route_v3.HeaderMatcher(name="content-type", string_match=regex(json_type), invert_match=True),
        _path_matches(json_api, invert=True),
    ]


# Conditions. Each has its twin in routing.py, which decides in listener placement and for what is answered locally.


_TRUE = matcher.ValueMatcher(bool_match=True)
_SOME_API = r"[^?]*/(v1|[^/?]*%[^/?]*)/+[^/?].*"
"""A path that may name an API; escaped ones are the sidecar's to read."""


def _method(methods: str, *, invert: bool = False) -> route_v3.HeaderMatcher:
    return route_v3.HeaderMatcher(name=":method", string_match=regex(methods), invert_match=invert)


def _path_matches(pattern: str, *, invert: bool = False) -> route_v3.HeaderMatcher:
    return route_v3.HeaderMatcher(name=":path", string_match=regex(pattern), invert_match=invert)


_MODEL_LIST = (_method("GET|HEAD"), _path_matches(r"[^?]*/v1/+models(/[^?]*)?(\?.*)?"))


def _match(
    prefix: str | None = None,
    headers: Sequence[route_v3.HeaderMatcher] = (),
    metadata: Sequence[matcher.MetadataMatcher] = (),
) -> route_v3.RouteMatch:
    return route_v3.RouteMatch(prefix=prefix or "/", headers=list(headers), dynamic_metadata=list(metadata))


def _conditions(
    match: Match, *, headers: Sequence[route_v3.HeaderMatcher] = (), models: bool = False
) -> route_v3.RouteMatch:
    """`headers`: what must hold besides. `models`: whether the model counts."""
    metadata = [_metadata("model", _names(match))] if models and match.models is not None else []
    return _match(match.path_prefix, [*_head_conditions(match), *headers], metadata)


def _head_conditions(match: Match) -> Iterator[route_v3.HeaderMatcher]:
    for name, value in match.headers.items():
        yield route_v3.HeaderMatcher(name=name, string_match=matcher.StringMatcher(exact=value))
    if match.hosts:
        hosts = "|".join(map(host_regex, match.hosts))
        yield route_v3.HeaderMatcher(name=":authority", string_match=regex(rf"({hosts})(:\d+)?"))
    for names in (match.ingress, match.services):
        if names:
            said = {n for name in names for n in (name, name.rpartition("/")[2], name.partition(":")[0])}
            bearer = rf"(Bearer )?({'|'.join(map(re.escape, sorted(said)))})"
            yield route_v3.HeaderMatcher(name="authorization", string_match=regex(bearer))


def _names(match: Match) -> matcher.ValueMatcher:
    """The model, by exact names, globs and expressions."""
    patterns = match.models.patterns if match.models is not None else ()
    values = [matcher.ValueMatcher(string_match=string_match(pattern)) for pattern in patterns]
    return values[0] if len(values) == 1 else matcher.ValueMatcher(or_match=matcher.OrMatcher(value_matchers=values))


def _metadata(key: str, value: matcher.ValueMatcher) -> matcher.MetadataMatcher:
    return matcher.MetadataMatcher(filter=BODY, path=[matcher.MetadataMatcherPathSegment(key=key)], value=value)


def _cors_policy(origins: Sequence[str]) -> dict[str, protobuf.Any]:
    if not origins:
        return {}
    policy = cors.CorsPolicy(
        allow_origin_string_match=[_origin(origin) for origin in origins],
        allow_methods="GET, POST, DELETE, OPTIONS",
        # `*` covers what SDKs add (x-stainless-*, openai-*), but never authorization (Fetch standard).
        allow_headers="authorization, content-type, *",
        expose_headers="*",
        max_age="86400",
        allow_credentials=False,
        forward_not_matching_preflights=False,
    )
    return {"envoy.filters.http.cors": packed(policy)}


def _origin(origin: str) -> matcher.StringMatcher:
    if "*" not in origin:
        return matcher.StringMatcher(exact=origin)
    if origin == "*":
        return regex(".*")
    pattern = r"[A-Za-z0-9.-]+".join(re.escape(part) for part in origin.split("*"))
    return regex(pattern)
