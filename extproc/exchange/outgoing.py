"""Replies in terms of HTTP headers: what is set, what must never go out, what the access log gets.

Rule: every header that leaves in either direction because of us is decided here.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
import re
from urllib.parse import quote

from extproc.config.clients import CREDENTIALS
from extproc.exchange.states import Record
from extproc.providers import Provider
from extproc.providers.base import UpstreamRequest
from extproc.terms.agreed import CLIENT_HEADERS, CLUSTER_HEADER, STRIPPED
from extproc.terms.call import Call
from extproc.terms.events import BodyMode, Forward, Reply
from extproc.terms.frozen import replace
from extproc.terms.usage import NOT_COUNTED, Usage, known
from extproc.text import jsontext
from extproc.text.compression import READABLE
from extproc.text.jsontext import NotJson

Metadata = Mapping[str, str | int | float]

_NEVER = frozenset(
    "cookie keep-alive proxy-authorization proxy-connection te trailer upgrade x-authorization x-hi-original-auth "
    "x-mse-consumer x-forwarded-for x-real-ip forwarded x-ai-console "
    # A server that believes these would serve another path or method than the one that was judged here.
    "x-original-url x-rewrite-url x-original-host x-http-method x-http-method-override x-method-override".split()
)
_INTERNAL = (*STRIPPED, "x-higress-")

_ANTHROPIC = "anthropic-"

VENDOR_HEADERS = (
    "set-cookie",  # a vendor's cookie belongs to our key, not to one client
    "req-arrive-time",
    "req-cost-time",
    "resp-start-time",
    "x-dashscope-call-gateway",
    "x-dashscope-finished",
    "x-dashscope-timeout",
    "x-envoy-upstream-service-time",
)
"""Removed from every answer."""

_KEPT_WITH_ERRORS = re.compile(
    r"retry-after|content-type|content-language|(x-|apim-|x-ms-)?request-id|x-should-retry|date"
    r"|(x-|anthropic-)?ratelimit(-[a-z0-9-]+)?|x-ai-[a-z0-9-]+"
)
"""What a client gets of the headers of a vendor's refusal: what SDKs read and what vendors' support asks for."""

_OF_THE_CONNECTION = frozenset({"connection", "content-encoding", "content-length", "transfer-encoding"})
_SHORTEST_KEY = 8
"""Characters below which a key may well be a part of a harmless value."""


def quoting(headers: Mapping[str, str], token: str | None) -> tuple[str, ...]:
    """The headers of an answer in which a vendor says our key."""
    if token is None or len(token) < _SHORTEST_KEY:
        return ()
    return tuple([name for name, value in headers.items() if token in value])


def of_a_refusal(headers: Mapping[str, str]) -> tuple[str, ...]:
    """The headers that a failed answer loses."""
    return tuple(
        name
        for name in headers
        if not name.startswith(":") and name not in _OF_THE_CONNECTION and not _KEPT_WITH_ERRORS.fullmatch(name)
    )


def redact(body: bytes, token: str | None) -> bytes:
    """An error body in which a vendor quotes our key, without it."""
    if not token:
        return body
    key = token.encode()
    if b"\\" in body:  # \u002d is a hyphen too
        with suppress(NotJson):
            plain = jsontext.dump(jsontext.load(body))
            body = plain if plain.count(key) > body.count(key) else body
    return body.replace(key, b"***")


_LONGEST_CODE = 100


def redact_text(code: str, token: str | None) -> str:
    """An error's code, for logs, without our key and not too long."""
    return (code.replace(token, "***") if token else code)[:_LONGEST_CODE]


_REAL_KEY = 16
"""Characters from which a key cannot be a word of an answer: for servers of one's own people put `ollama`, `EMPTY`."""


def without_key(reply: Reply, token: str | None) -> Reply:
    """A reply to a piece of an answer that was read here, in which a vendor might say our key."""
    if token is None or len(token) < _REAL_KEY or not isinstance(reply, Forward) or not reply.body:
        return reply
    if (key := token.encode()) not in reply.body:
        return reply
    body = reply.body.replace(key, b"***")
    sets = {k: str(len(body)) if k == "content-length" else v for k, v in reply.set_headers.items()}
    return replace(reply, body=body, set_headers=sets)


_MOST_NAMES = 32
_LONGEST_NAME = 100


def listed(names: Sequence[str]) -> str:
    """The value of `x-ai-dropped`: names of members, which may be a client's own words. Each once, what a header cannot
    carry and commas as %XX, and not too long."""
    names = list(dict.fromkeys(names))
    shown = [quote(name[:_LONGEST_NAME], safe=_IN_NAMES) for name in names[:_MOST_NAMES]]
    return ",".join([*shown, "..."] if len(names) > _MOST_NAMES else shown)


_IN_NAMES = "!$&'()*+/:;=?@[]^`{|}~"


def request(
    provider: Provider,
    call: Call,
    upstream: UpstreamRequest,
    metadata: Metadata,
    *,
    read: bool,
    request_mode: BodyMode | None,
) -> Forward:
    """Send the vendor's request. `read`: its answer will be read, so it must not be compressed."""
    sets = {":path": upstream.path, ":authority": provider.upstream.authority}
    sets.update(upstream.headers)
    if call.body is not None:
        sets["content-length"] = str(len(call.text if upstream.body is None else upstream.body))
        if not call.headers.get("content-type", "").startswith("application/json"):
            sets["content-type"] = "application/json"
    if not read and (accepted := _decodable(call.headers.get("accept-encoding", ""))):
        sets["accept-encoding"] = accepted
    return Forward(
        set_headers=sets,
        remove_headers=_dropped(
            tuple(call.headers),
            tuple(sets),
            upstream.remove,
            ours=call.token is not None,
            original=provider.protocol == "original",
        ),
        body=upstream.body,
        request_mode=request_mode,
        metadata=metadata,
    )


_IDENTITIES = frozenset(
    "openai-organization openai-project x-goog-user-project x-dashscope-workspace chatgpt-account-id "
    "ocp-apim-subscription-key x-ms-client-principal".split()
)
"""The client's account at a vendor, or a part of one. OpenAI refuses an organization that is not the key's (401)."""


@lru_cache(maxsize=64)  # few kinds of clients, and a head may have 60 KiB of names
def _dropped(
    given: tuple[str, ...], sets: tuple[str, ...], also: tuple[str, ...], *, ours: bool, original: bool
) -> tuple[str, ...]:
    """The headers of a request that must not leave. `ours`: its key is one of ours. `original`: the client speaks the
    vendor's own dialect."""
    drop = [name for name in given if name in _NEVER or name.startswith(_INTERNAL)]
    drop.extend(also)
    if not original:  # which version of Anthropic's API a client speaks, and what else it says to Anthropic alone
        drop.extend(name for name in given if name.startswith(_ANTHROPIC))
    # With a key of ours none of the client's leaves, and none that the call was not given: it was shown to us.
    drop.extend(name for name in CREDENTIALS if ours or name not in given)
    if ours:  # whose account is charged is for the key's owner to say
        drop.extend(name for name in given if name in _IDENTITIES)
    if not ours and "authorization" in sets:  # the client's own key, in another header than it came in
        drop.extend(("x-api-key", "api-key"))
    drop.append("accept-encoding")
    return tuple(name for name in dict.fromkeys(drop) if name not in sets)


_OF_THE_GATEWAY = ("x-forwarded-host", "x-forwarded-port", "x-forwarded-proto")
"""Our own route table removes them. Not we: without the last one Envoy finds no route any more (1.40)."""


def attached(forward: Forward, call: Call) -> Forward:
    """To where the gateway's route leads, which is not chosen again."""
    names = [name for name in _OF_THE_GATEWAY if name in call.headers]
    return replace(forward, remove_headers=(*forward.remove_headers, *names))


def rerouted(forward: Forward, provider: Provider) -> Forward:
    """To the provider's cluster, where the choice is ours."""
    return replace(forward, set_headers={**forward.set_headers, CLUSTER_HEADER: provider.id}, reroute=True)


def again(forward: Forward, call: Call) -> Forward:
    """The request of a later attempt: headers that the attempt before changed are the client's again, or gone, unless
    this one sets them itself. Nothing of one vendor reaches another."""
    stale = [name for name in CLIENT_HEADERS if name not in forward.set_headers and name not in forward.remove_headers]
    restored = {name: call.headers[name] for name in stale if name in call.headers}
    return replace(
        forward,
        set_headers={**restored, **forward.set_headers},
        remove_headers=(*forward.remove_headers, *(name for name in stale if name not in restored)),
    )


@lru_cache(maxsize=64)
def _decodable(offered: str) -> str:
    """Of the encodings that a client accepts those that we could decode: an error answer is read in any case."""
    return ", ".join(o for o in map(str.strip, offered.split(",")) if o.partition(";")[0] in READABLE)


def whole(body: bytes, headers: Mapping[str, str], metadata: Metadata, *, status: int | None = None) -> Forward:
    """A whole JSON answer, an error or not, under the vendor's headers, and its status unless another is given."""
    sets = {"content-length": str(len(body))}
    if status is not None:
        sets[":status"] = str(status)
    if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        sets["content-type"] = "application/json"
    remove = ("content-encoding",) if status is None else ("content-encoding", *of_a_refusal(headers))
    return Forward(sets, remove, body, metadata=metadata)


def error_headers(headers: Mapping[str, str], token: str | None) -> dict[str, str]:
    """What survives of a vendor's headers when an error of ours takes the place of its answer."""
    lost = {"content-type", *quoting(headers, token)}
    return {n: value for n, value in headers.items() if n not in lost and _KEPT_WITH_ERRORS.fullmatch(n)}


_NOUGHT = Usage(0, 0, 0)


def metadata(record: Record, *, counted: bool) -> dict[str, str | int | float]:
    """The access log's values, those that are known. `counted`: an estimate has been told, which what failed takes
    back."""
    usage = _NOUGHT if counted and record.usage is NOT_COUNTED else record.usage
    values: dict[str, str | float | None] = {
        "client": record.client,
        "route": record.route,
        "provider": record.provider,
        "model": record.model,
        "upstream_model": record.upstream_model,
        "error": record.error,
        **known(usage),
        "estimated": usage.estimated if counted else None,
        "cost": None if record.cost is None else float(record.cost),
        "currency": record.currency,
    }
    if record.attempt > 1 and record.error is None:
        values["error"] = ""  # in the place of what the attempt before left
    return {name: value for name, value in values.items() if value is not None}
