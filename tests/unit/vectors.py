"""Reads `tests/vectors/*.yaml`: what each side sends and must see.

A file has `source` (documented, or observed in our simulator), `base` (sections shared by all) and `vectors`; a
vector may have `rows` of its own, which are merged over it. Sections:

    config    provider: {…} (one, id `p`) or a whole native configuration
    contexts  context texts by provider id
    request   method, path, headers, body (JSON) | text | base64, attributes
    upstream  path, query (its parts in any order), authority, headers, absent_headers, cluster, attached: true,
              dropped (a list of names), body (JSON) | same: true
    answer    status, headers, body (JSON) | text | base64 | frames (DashScope) | events (OpenAI) | sse (raw),
              gzip: true | deflate: true, empty: true, details
    client    status, headers, absent_headers, unread: true, recorded,
              body (JSON) | error (members) | same: true | events (JSON of each event) |
              response (members of a Responses answer, the stream's last or the whole one; ids are `<any>`) |
              message (the same of a Messages answer; `error` where one ends it) | anthropic (members of an error) |
              openai (the error that ends them) | chat (a chat stream, told shortly; `model`: its name, `m` by
              default) | joined (the same with neighbouring texts of one kind joined)

Words in expected JSON: `<now>`, `<call:NAME>` (a minted tool-call id, the same for the same NAME), `<any>`.

A frame is `{m: message fields, finish, choice, usage}`, `{raw: JSON}`, `{error: JSON, status}` or `{sse: text}`.
A told chat stream is a list of `{content}`, `{reasoning_content}`, `{tool_calls}`, `{finish}`, `{usage}`,
`{error}` (each with `choice` unless 0) and `DONE`.
"""

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
import gzip
import json
from pathlib import Path
import re
from typing import Any
import zlib

import pytest
from ruamel.yaml import YAML

from . import messages_rules, responses_rules
from .chat_rules import REQUEST_ID, check_error, joined, told
from .player import CLIENT_KEY, CLIENT_NOISE, NOW, Play, Seen, config_of
from .sse_reference import parse

DIRECTORY = Path(__file__).parent.parent / "vectors"
USAGE = {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15}


@dataclass(frozen=True)
class Vector:
    name: str
    source: str
    config: Mapping[str, Any]
    contexts: Mapping[str, str]
    request: Mapping[str, Any]
    upstream: Mapping[str, Any] | None
    answer: Mapping[str, Any] | None
    client: Mapping[str, Any] | None

    @property
    def streams(self) -> bool:
        return self.answer is not None and bool({"frames", "events", "sse"} & self.answer.keys())


def load() -> list[Vector]:
    """Every vector of every file; names are unique."""
    found = [v for path in sorted(DIRECTORY.glob("*.yaml")) for v in _file(path)]
    names = [v.name for v in found]
    assert len(names) == len(set(names)), f"twice: {sorted({n for n in names if names.count(n) > 1})}"
    return found


def settle(value: Any) -> Any:
    """`value` with every `$replace` resolved."""
    if isinstance(value, Mapping):
        return settle(value["$replace"]) if "$replace" in value else {k: settle(v) for k, v in value.items()}
    return [settle(v) for v in value] if isinstance(value, list) else value


def _file(path: Path) -> Iterator[Vector]:
    document = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
    assert document["source"] in ("documented", "observed in our simulator")
    base = document.get("base", {})
    for entry in document["vectors"]:
        rows = entry.pop("rows", [{}])
        for row in rows:
            merged = settle(merge(base, merge(entry, row)))
            name = " · ".join(filter(None, (path.stem, entry["name"], row.get("name"))))
            unknown = merged.keys() - {
                "name",
                "source",
                "config",
                "contexts",
                "request",
                "upstream",
                "answer",
                "client",
            }
            assert not unknown, f"{name}: {unknown}"
            yield Vector(
                name,
                merged.get("source", document["source"]),
                merged["config"],
                merged.get("contexts", {}),
                merged["request"],
                merged.get("upstream"),
                merged.get("answer"),
                merged.get("client"),
            )


def merge(under: Any, over: Any) -> Any:
    """`over` laid upon `under`: mappings merge, everything else replaces; `$replace` replaces a mapping too."""
    if not isinstance(under, Mapping) or not isinstance(over, Mapping):
        return over
    if "$replace" in over:
        return over
    if "$replace" in under:
        return {"$replace": merge(under["$replace"], over)}
    return {**under, **{k: merge(under.get(k), v) for k, v in over.items()}}


# What goes in


def dump(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _payload(section: Mapping[str, Any]) -> bytes | None:
    if "body" in section:
        return dump(section["body"])
    if "text" in section:
        return str(section["text"]).encode()
    if "base64" in section:
        return base64.b64decode(section["base64"])
    return None


def frames(entries: list[Mapping[str, Any]]) -> bytes:
    """DashScope's way to write a stream."""
    return "".join(_frame(number, entry) for number, entry in enumerate(entries, 1)).encode()


def _frame(number: int, entry: Mapping[str, Any]) -> str:
    if "sse" in entry:
        return str(entry["sse"])
    status, event, value = 200, "result", entry.get("raw")
    if "error" in entry:
        status, event, value = entry.get("status", 400), "error", entry["error"]
    elif value is None:
        choice = {
            "message": {"role": "assistant", **entry.get("m", {})},
            "finish_reason": entry.get("finish", "null"),
        }
        if "choice" in entry:
            choice["index"] = entry["choice"]
        value = {"output": {"choices": [choice]}, "usage": entry.get("usage", USAGE), "request_id": REQUEST_ID}
    text = value if isinstance(value, str) else dump(value).decode()
    return f"id:{number}\nevent:{event}\n:HTTP_STATUS/{status}\ndata:{text}\n\n"


def _answer(section: Mapping[str, Any]) -> tuple[dict[str, str], bytes | None]:
    kind, body = "application/json", _payload(section)
    if "frames" in section:
        kind, body = "text/event-stream;charset=UTF-8", frames(section["frames"])
    elif "events" in section:
        kind = "text/event-stream"
        body = b"".join(
            b"data: " + (e.encode() if isinstance(e, str) else dump(e)) + b"\n\n" for e in section["events"]
        )
    elif "sse" in section:
        kind, body = "text/event-stream", section["sse"].encode()
    if section.get("empty"):
        body = None
    headers = {":status": str(section.get("status", 200)), "content-type": kind, "x-request-id": "vendor-1"}
    if body is not None and section.get("gzip"):
        body, headers["content-encoding"] = gzip.compress(body, mtime=0), "gzip"
    if body is not None and section.get("deflate"):
        body, headers["content-encoding"] = zlib.compress(body), "deflate"
    if body is not None and not kind.startswith("text/event-stream"):
        headers["content-length"] = str(len(body))
    return {**headers, **section.get("headers", {})}, body


def configuration(vector: Vector) -> Mapping[str, Any]:
    if "provider" not in vector.config:
        return vector.config
    return {"providers": [{"id": "p", **vector.config["provider"]}]}


def ask(vector: Vector) -> tuple[Play, bytes | None]:
    """Plays the request; the player and the client's body."""
    request = vector.request
    body = _payload(request)
    method = request.get("method", "GET" if body is None else "POST")
    headers = {
        ":method": method,
        ":scheme": "http",
        ":authority": "gateway.test:8080",
        ":path": request["path"],
        **CLIENT_NOISE,
    }
    if body is not None:
        headers |= {"content-type": "application/json", "content-length": str(len(body))}
    for name, value in request.get("headers", {}).items():
        if value is None:
            headers.pop(name, None)
        else:
            headers[name] = value
    play = Play(config_of(configuration(vector)), vector.contexts)
    play.request(headers, body, request.get("attributes", {}))
    return play, body


def answer_bytes(vector: Vector) -> bytes:
    assert vector.answer is not None
    return _answer(vector.answer)[1] or b""


def reply(play: Play, vector: Vector, chunks: list[bytes] | None, *, empty_end: bool = True) -> Seen:
    """Plays the vendor's answer, cut into `chunks`."""
    assert vector.answer is not None
    headers, body = _answer(vector.answer)
    details = vector.answer.get("details", "via_upstream")
    pieces = None if body is None else chunks
    play.response(headers, pieces, attributes={"response.code_details": details}, empty_end=empty_end)
    return play.seen


# What must come out


class Bound:
    """Compares JSON with placeholders; a bool is not a number here, and 1 is not 1.0."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}

    def same(self, got: Any, want: Any, place: str = "") -> None:
        if isinstance(want, str) and (match := re.fullmatch(r"<(now|any|call:(\w+))>", want)):
            if match[1] == "now":
                assert got == NOW, place
            elif match[2]:
                assert isinstance(got, str), place
                assert re.match(r"call_\w", got), f"{place}: {got!r} is not a minted id"
                assert self.names.setdefault(match[2], got) == got, place
                assert len(set(self.names.values())) == len(self.names), "two calls have one minted id"
            return
        assert type(got) is type(want), f"{place}: {got!r}, expected {want!r}"
        if isinstance(want, dict):
            assert got.keys() == want.keys(), f"{place}: {sorted(got)}, expected {sorted(want)}"
            for key in want:
                self.same(got[key], want[key], f"{place}.{key}")
        elif isinstance(want, list):
            assert len(got) == len(want), f"{place}: {got!r}, expected {want!r}"
            for number, (g, w) in enumerate(zip(got, want, strict=True)):
                self.same(g, w, f"{place}[{number}]")
        else:
            assert got == want, f"{place}: {got!r}, expected {want!r}"


def plain(value: Any) -> Any:
    """As `json.loads` would give it (ruamel's own types gone)."""
    return json.loads(json.dumps(value, ensure_ascii=False))


def check_headers(got: Mapping[str, str], section: Mapping[str, Any]) -> None:
    for name, value in section.get("headers", {}).items():
        assert got.get(name) == value, f"{name}: {got.get(name)!r}, expected {value!r}"
    for name in section.get("absent_headers", []):
        assert name not in got, f"{name}: {got[name]!r} should be absent"


def check_upstream(vector: Vector, play: Play, body: bytes | None) -> None:
    """What the vendor got, and what no vendor may get."""
    seen, want = play.seen, vector.upstream
    if want is None:
        assert seen.upstream is None, f"sent on: {seen.upstream}"
        return
    assert seen.upstream is not None, f"not sent on: {seen.client_body!r}"
    headers = seen.upstream
    if "path" in want:
        assert headers[":path"] == want["path"]
    if "query" in want:
        assert sorted(headers[":path"].partition("?")[2].split("&")) == sorted(want["query"])
    if "authority" in want:
        assert headers[":authority"] == want["authority"]
    check_headers(headers, want)
    providers = {p["id"]: p for p in configuration(vector)["providers"]}
    cluster = want.get("cluster", next(iter(providers)) if len(providers) == 1 else None)
    assert cluster, "several providers: say `cluster`"
    ours = {n: v for n, v in headers.items() if n.startswith("x-ai-proxy-")}
    if want.get("attached"):
        assert not seen.reroute, "the route was a gateway's, which has others for the vendor's path"
        assert ours == {}
        assert seen.record.provider == cluster, "another provider's key"
    else:
        assert seen.reroute, "the route was chosen by the client's header"
        assert ours == {"x-ai-proxy-cluster": cluster}
    assert "te" not in headers, "a hop-by-hop header"
    tokens = providers[cluster].get("apiTokens") or [providers[cluster].get("apiToken")]
    if any(tokens):
        leaks = {n: v for n, v in headers.items() if CLIENT_KEY in v}
        assert not leaks, f"the client's key reached the vendor in {leaks}"
    if "body" in want:
        assert seen.upstream_body is not None
        Bound().same(json.loads(seen.upstream_body), plain(want["body"]), "upstream")
    if want.get("same"):
        assert seen.upstream_body == body
    if "dropped" in want:
        assert (seen.record.dropped or "").split(",") == (want["dropped"] or [""])


def check_client(vector: Vector, seen: Seen, vendor: bytes | None) -> None:
    """What the client saw."""
    want = vector.client
    if want is None:
        return
    assert seen.status == want.get("status", 200), seen.client_body
    check_headers(seen.client, want)
    if seen.response_mode.value != "none" and vector.answer and vector.answer.get("status", 200) < 400:
        assert "accept-encoding" not in (seen.upstream or {}), "the answer is read, so it must not be compressed"
        assert "content-encoding" not in seen.client
    if want.get("unread"):
        assert seen.response_mode.value == "none", "the answer was taken from Envoy for nothing"
    if want.get("same"):
        assert seen.client_body == vendor
    if "error" in want:
        assert seen.client["content-type"].startswith("application/json")
        check_error(json.loads(seen.client_body), want["error"])
    if "body" in want:
        assert seen.client["content-type"].startswith("application/json")
        Bound().same(_lean(json.loads(seen.client_body)), plain(want["body"]), "client")
    if "chat" in want:
        assert seen.client["content-type"].startswith("text/event-stream")
        Bound().same(told(seen.client_body, want.get("model", "m")), plain(want["chat"]), "stream")
    if "joined" in want:
        Bound().same(joined(told(seen.client_body, want.get("model", "m"))), plain(want["joined"]), "stream")
    if "response" in want:
        streamed = seen.client["content-type"].startswith("text/event-stream")
        response = responses_rules.check(seen.client_body) if streamed else json.loads(seen.client_body)
        for name, value in plain(want["response"]).items():
            Bound().same(response[name], value, f"response.{name}")
    if "message" in want:
        streamed = seen.client["content-type"].startswith("text/event-stream")
        message = messages_rules.check(seen.client_body) if streamed else json.loads(seen.client_body)
        assert "error" in want["message"] or "error" not in message, message
        for name, value in plain(want["message"]).items():
            Bound().same(message[name], value, f"message.{name}")
    if "anthropic" in want:
        assert seen.client["content-type"].startswith("application/json")
        document = json.loads(seen.client_body)
        assert document.keys() == {"type", "error", "request_id"}
        assert document["type"] == "error"
        assert document["request_id"] == seen.client["request-id"]
        assert document["error"].keys() == {"type", "message"}
        Bound().same(document["error"], plain({"message": "<any>", **want["anthropic"]}), "error")
    if "events" in want:
        assert seen.client["content-type"].startswith("text/event-stream")
        got = [d.decode() if d.strip() == b"[DONE]" else json.loads(d) for d, _, _ in parse(seen.client_body) if d]
        Bound().same(got, plain(want["events"]), "stream")
    if "openai" in want:  # an OpenAI error event at the end of another stream
        *before, last = [data for data, _, _ in parse(seen.client_body)]
        assert b"[DONE]" not in before, "a stream that ends with an error looks complete"
        check_error(json.loads(last), want["openai"])
    for name, value in want.get("recorded", {}).items():
        got = getattr(seen.record, name) if hasattr(seen.record, name) else getattr(seen.record.usage, name)
        assert got == value, f"recorded {name}: {got!r}"


_OPTIONAL = ("logprobs", "refusal", "system_fingerprint", "service_tier", "usage", "annotations", "audio")


def _lean(value: Any) -> Any:
    """Without members that OpenAI allows to be null or to be absent."""
    if isinstance(value, dict):
        return {k: _lean(v) for k, v in value.items() if not (v is None and k in _OPTIONAL)}
    return [_lean(v) for v in value] if isinstance(value, list) else value


def params(vectors: list[Vector]) -> list[Any]:
    return [pytest.param(v, id=v.name) for v in vectors]
