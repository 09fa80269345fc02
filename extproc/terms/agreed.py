"""What the sidecar and Envoy's configuration must agree on. Constants only."""

from typing import Final

CLUSTER_HEADER: Final = "x-ai-proxy-cluster"
"""Set by the sidecar to a provider's id: the cluster that the request goes to. Stripped before it leaves."""

AGAIN_HEADER: Final = "x-ai-proxy-again"
"""Of an answer by which the sidecar asks Envoy for another attempt, where one is left. Stripped before it leaves."""

INTERNAL_PREFIX: Final = "x-ai-proxy-"
"""Headers of ours."""

CONSOLE_HEADER: Final = "x-ai-console"
"""Marks the console's own chats, whose exchanges are told whole: a token of this process, a dot and a name."""

ENVOY_PREFIX: Final = "x-envoy-"
"""Headers of Envoy's, by which its router takes orders."""

STRIPPED: Final = (INTERNAL_PREFIX, ENVOY_PREFIX)
"""Beginnings of headers that are removed from what clients send, before anything reads it."""

OWN_ROUTES: Final = "ai_proxy:"
"""How the names of our own route table's routes without a provider begin. Any other name that Envoy says where the
filter is in front of the routes is of a gateway's own route, which has chosen the cluster already."""

LOCAL_ROUTE: Final = f"{OWN_ROUTES}local"
"""With the filter inside the providers' clusters: Envoy's route for what the sidecar answers itself."""

UNREAD_ROUTE: Final = f"{OWN_ROUTES}unread"
"""The same: Envoy's route for bodies that it cannot read, and the sidecar perhaps can. What the sidecar reads there it
tells Envoy, which chooses again."""

BODY: Final = "ai_proxy_body"
"""Dynamic metadata: `model` and `stream` of the request's body, and whether it is `unread`."""

CLIENT_STATE: Final = "ai_proxy.client"
"""Filter state: the headers of `CLIENT_HEADERS` as the client sent them, and a random id; JSON.
A retry sees the headers as the attempt before left them."""

CLIENT_HEADERS: Final = (
    ":path",
    "accept",
    "accept-encoding",
    "anthropic-beta",
    "anthropic-version",
    "api-key",
    "authorization",
    "content-type",
    CONSOLE_HEADER,
    "x-api-key",
    "x-dashscope-sse",
)
"""Request headers that an attempt may change and the next one needs as they were."""

_HOST = "xds.upstream_host_metadata.filter_metadata['ai_proxy']"
PROVIDER_ATTRIBUTE: Final = f"{_HOST}['provider']"
PLACE_ATTRIBUTE: Final = f"{_HOST}['place']"
MODEL_ATTRIBUTE: Final = f"{_HOST}['model']"
ROUTE_ATTRIBUTE: Final = "xds.route_name"
CLUSTER_ATTRIBUTE: Final = "xds.cluster_name"
CLIENT_ATTRIBUTE: Final = f"filter_state['{CLIENT_STATE}']"

DOOR_ATTRIBUTE: Final = "xds.virtual_host_name"
"""Sent by the filter that only asks whether a client may come in, and by no other."""

SIDECAR_CLUSTER: Final = "ai_proxy_extproc"
"""The cluster that is the sidecar itself; no provider may have this id."""

TRACES_CLUSTER: Final = "ai_proxy_traces"
"""The cluster that takes Envoy's spans; no provider may have this id either."""

NAMESPACE: Final = "ai_proxy"
"""Of the dynamic metadata that the sidecar reports for the access log."""

COUNTING: Final = "counting"
"""Dynamic metadata of ours: who counts the tokens of an answer, `COUNTED_BY_ENVOY` or the sidecar."""

TOKENS: Final = "envoy.ai.token_usage"
"""Typed metadata: what Envoy's `ai_protocol_manager` counted in an answer, by its own default."""

COUNTED_BY_ENVOY: Final = "envoy"

DETAILS: Final = "ai_proxy_answer"
"""`response.code_details` of the sidecar's own answers, so that they are not taken for Envoy's."""

PROBE_PATH: Final = "/ai-proxy/probe"
"""Asked for through Envoy at start, to see that it reaches the sidecar; not worth a log line."""

HEALTH_SECONDS: Final = 1
"""How often Envoy asks a worker whether it may send it more."""

LAME_SECONDS: Final = 2.5 * HEALTH_SECONDS
"""How long a worker that leaves still serves: by then Envoy has asked, and sends its streams elsewhere."""

MOST_BODY_BYTES: Final = 1 << 30
"""The largest `maxBodyBytes`."""

_LEAST_BUFFER: Final = 32 << 20
_MARGIN: Final = 16 << 20


def envoy_buffer(max_body_bytes: int) -> int:
    """Bytes of a body that Envoy holds. A margin above the limit lets the sidecar, not Envoy, refuse what is a little
    too long; and however small the limit is, answers read whole pass the same buffers, and one that fills them stalls.
    """
    return max(max_body_bytes, _LEAST_BUFFER) + _MARGIN


GROWTH: Final = 4 << 20
"""An answer to a message may have this many bytes more than came with what it answers, however the vendor's words are
compressed or how much of ours each of them becomes. So all that goes out at once is far below Envoy's buffers."""
