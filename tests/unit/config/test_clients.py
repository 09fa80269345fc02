"""Who may come in: keys in every form and header, what a client may use, and that its key goes nowhere."""

from collections.abc import Mapping
import hashlib
import json
from pathlib import Path
import sys
from typing import Any

import pytest

from extproc.config.clients import KeyHash, admit
from extproc.config.config import Config
from extproc.config.load import load
from extproc.terms.errors import InvalidApiKey
from tests.unit.player import Play, config_of
from tests.unit.vectors import dump

ALICE, BOB, CAROL, DAVE = "sk-PLANTED-alice", "sk-PLANTED-bob", "sk-PLANTED-carol", "sk-PLANTED-dave"
HEAD = {":method": "POST", ":path": "/v1/chat/completions", ":authority": "h", "content-type": "application/json"}
MESSAGES = [{"role": "user", "content": "hi"}]


def hashed(key: str) -> str:
    return f"sha256:{hashlib.sha256(key.encode()).hexdigest()}"


CONFIG = config_of(
    {
        "providers": [
            {"id": "own", "type": "openai", "openaiCustomUrl": "http://own.test/v1"},
            {"id": "qwen", "type": "qwen", "apiTokens": ["sk-q"], "modelMapping": {"gpt-4o": "qwen-max", "*": "qwen"}},
            {"id": "original", "type": "qwen", "protocol": "original", "apiTokens": ["sk-o"]},
        ],
        "routes": [
            {"name": "native", "match": {"hosts": ["native"]}, "provider": "original"},
            {"name": "by-key", "match": {"headers": {"authorization": "Bearer qwen"}}, "provider": "qwen"},
            {"name": "kimi", "match": {"models": ["kimi*"]}, "provider": "qwen"},
            {"name": "qwen", "match": {"hosts": ["qwen"]}, "provider": "qwen"},
            {"name": "own", "provider": "own"},
        ],
        "clients": [
            {"name": "alice", "key": ALICE},
            {"name": "bob", "key": hashed(BOB), "models": ["gpt-4o", "gpt-5*", "~^qwen-(max|vl)$"]},
            {"name": "carol", "key": [CAROL, hashed("an older one")], "routes": ["qwen", "kimi"]},
            {"name": "dave", "key": DAVE, "models": [], "routes": ["own"]},
        ],
    }
)  # fmt: skip
OPEN = config_of({"providers": [{"id": "own", "type": "openai"}]})


def play(
    headers: Mapping[str, str], body: Any = None, *, method: str = "POST", path: str = HEAD[":path"], host: str = "h"
) -> Play:
    """One request. `body`: bytes, or a value sent as JSON."""
    played = Play(CONFIG)
    sent = body if isinstance(body, bytes) or body is None else dump(body)
    played.request({**HEAD, ":method": method, ":path": path, ":authority": host, **headers}, sent, {})
    return played


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def chat(model: str | None = "gpt-4o") -> dict[str, Any]:
    return {"messages": MESSAGES} if model is None else {"model": model, "messages": MESSAGES}


def error(played: Play) -> tuple[int, str, str]:
    """Status, type and code of a refusal that came from us."""
    assert played.seen.upstream is None
    found = json.loads(played.seen.client_body)["error"]
    assert found["message"]
    assert "PLANTED" not in str(found)
    return played.seen.status, found["type"], found["code"]


UNKNOWN = (401, "authentication_error", "invalid_api_key")
FORBIDDEN = (403, "permission_error", "model_not_allowed")

# Keys

SHOWN = {
    "a bearer token": (bearer(ALICE), "alice"),
    "another case and more spaces": ({"authorization": f"BEARER   {ALICE} "}, "alice"),
    "Anthropic's header": ({"x-api-key": ALICE}, "alice"),
    "Azure's header": ({"api-key": ALICE}, "alice"),
    "a key known by its hash": (bearer(BOB), "bob"),
    "the older of two keys": (bearer("an older one"), "carol"),
    "a bearer token that is something else": ({**bearer("moonshot"), "x-api-key": ALICE}, "alice"),
    "two keys, of which the bearer token wins": ({**bearer(CAROL), "x-api-key": ALICE}, "carol"),
}


@pytest.mark.parametrize("case", SHOWN)
def test_a_key_lets_its_client_in(case: str) -> None:
    headers, name = SHOWN[case]
    assert admit(CONFIG.client_keys, headers).name == name


STRANGERS: dict[str, dict[str, str]] = {
    "nothing": {},
    "an empty key": bearer(""),
    "an unknown key": bearer("sk-PLANTED-nobody"),
    "a key without Bearer": {"authorization": ALICE},
    "another scheme": {"authorization": f"Basic {ALICE}"},
    "the start of a key": bearer(ALICE[:-1]),
    "more than a key": bearer(ALICE + "x"),
    "a key in another case": bearer(ALICE.upper()),
    "two keys in one header": bearer(f"{ALICE}, Bearer {ALICE}"),
    "the hash instead of the key": bearer(hashed(BOB)),
    "the bare hash": bearer(hashed(BOB).removeprefix("sha256:")),
    "a key in a cookie": {"cookie": ALICE},
    "a vendor's key": bearer("sk-q"),
    "an internal header": {"x-ai-proxy-client": "alice"},
    "bytes that are not ASCII": bearer("ä\xff"),
    "characters that are not bytes": bearer("密钥\ud800"),
}
REQUESTS: dict[str, dict[str, Any]] = {
    "a chat": {"body": chat()},
    "no JSON": {"body": b"{"},
    "an unknown model": {"body": chat("nope"), "host": "nobody"},
    "the models": {"method": "GET", "path": "/v1/models"},
    "an unknown path": {"method": "GET", "path": "/"},
    "a path with dots": {"method": "GET", "path": "/v1/../admin"},
    "an unknown method": {"method": "TRACE"},
    "a preflight that Envoy let through": {"method": "OPTIONS"},
    "the vendor's own API": {"body": {}, "host": "native", "path": "/api/v1/services/x"},
}


@pytest.mark.parametrize("request_", REQUESTS)
@pytest.mark.parametrize("stranger", STRANGERS)
def test_a_stranger_is_told_nothing_but_401(stranger: str, request_: str) -> None:
    played = play(STRANGERS[stranger], **REQUESTS[request_])
    assert error(played) == UNKNOWN
    assert played.seen.record.client is None
    assert played.seen.record.route is None


def test_a_stranger_s_upload_is_not_read() -> None:
    played = Play(CONFIG)
    headers = {**HEAD, ":path": "/v1/files", "content-type": "multipart/form-data", "content-length": str(1 << 40)}
    played.request(headers, b"--x", {})
    assert error(played) == UNKNOWN


def test_without_clients_everybody_comes_in_and_pays_with_a_key_of_their_own() -> None:
    played = Play(OPEN)
    played.request({**HEAD, **bearer("sk-mine")}, dump(chat()), {})
    assert played.seen.upstream is not None
    assert played.seen.upstream["authorization"] == "Bearer sk-mine"
    assert "client" not in played.seen.metadata


def test_every_key_is_compared_whoever_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[bytes] = []

    def compare(ours: bytes, theirs: bytes) -> bool:
        compared.append(ours)
        return ours == theirs

    monkeypatch.setattr("extproc.config.clients.hmac.compare_digest", compare)
    for key in (ALICE, DAVE):
        admit(CONFIG.client_keys, bearer(key))
    with pytest.raises(InvalidApiKey):
        admit(CONFIG.client_keys, bearer("nobody"))
    assert len(compared) == 3 * 5
    assert set(compared[:5]) == set(compared[5:10]) == set(compared[10:])


def test_keys_are_not_kept_and_hashes_not_printed() -> None:
    told = f"{CONFIG!r} {CONFIG} {CONFIG.clients[1].keys} {KeyHash.of(ALICE)}"
    assert "PLANTED" not in told
    for key in (ALICE, BOB, CAROL):
        assert hashed(key)[12:] not in told
        assert str(KeyHash.of(key).digest) not in told


WRITTEN = {
    "literal": "key: sk-file-0001",
    "hash": f"key: {hashed('sk-file-0001')}",
    "HASH": f"key: sha256:{hashed('sk-file-0001')[7:].upper()}",
    "environment": 'key: "${KEY}"',
    "hash in the environment": 'key: "${HASH}"',
    "file": "key: file:keys.txt",
    "keyFile": "keyFile: keys.txt",
    "absolute": "keyFile: FOLDER/keys.txt",
    "list": "key: [sk-file-0000, file:keys.txt]",
}


@pytest.mark.parametrize("written", WRITTEN)
def test_a_key_may_be_written_in_many_places(tmp_path: Path, written: str) -> None:
    (tmp_path / "keys.txt").write_text(f"\n  sk-file-0001 \r\n{hashed('sk-file-0002')}\n\n")
    path = tmp_path / "config.yaml"
    where = WRITTEN[written].replace("FOLDER", str(tmp_path))
    path.write_text(f"providers: [{{type: openai}}]\nclients:\n  - name: a\n    {where}\n")
    environ = {"KEY": " sk-file-0001, sk-file-0003 ", "HASH": hashed("sk-file-0001")}
    loaded = load(path, environ)
    assert admit(loaded.config.client_keys, bearer("sk-file-0001")).name == "a"
    for key, valid in (("sk-file-0002", "keys.txt" in where), ("sk-file-0003", "{KEY}" in where)):
        if valid:
            admit(loaded.config.client_keys, bearer(key))
        else:
            with pytest.raises(InvalidApiKey):
                admit(loaded.config.client_keys, bearer(key))


def test_envoy_s_side_needs_no_client_keys(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text('providers: [{type: openai}]\nclients: [{name: a, keyFile: x}, {name: b, key: "${X}"}]\n')
    assert [c.name for c in load(path, {}, keyless=True).config.clients] == ["a", "b"]


# The key ends here


@pytest.mark.parametrize("host", ["h", "qwen", "native"])
@pytest.mark.parametrize("headers", [bearer(ALICE), {"x-api-key": ALICE}, {**bearer("other"), "api-key": ALICE}])
def test_a_client_s_key_reaches_no_vendor(headers: dict[str, str], host: str) -> None:
    path = "/api/v1/services/aigc/text-generation/generation" if host == "native" else HEAD[":path"]
    for request in ({"body": chat()}, {"body": b"x", "path": "/v1/files"}, {"method": "GET", "path": "/v1/files"}):
        if host == "native":
            request["path"] = path
        upload = {"content-type": "multipart/form-data"} if request.get("body") == b"x" else {}
        played = play({**headers, **upload}, host=host, **request)
        assert played.seen.upstream is not None, played.seen.client_body
        assert played.seen.record.client == "alice"
        assert "PLANTED" not in str(played.seen.upstream)
        assert not {"x-api-key", "api-key"} & played.seen.upstream.keys()
        key = {"h": None, "qwen": "Bearer sk-q", "native": "Bearer sk-o"}[host]
        assert played.seen.upstream.get("authorization") == key


def test_the_client_s_name_is_in_the_access_log_also_where_it_is_refused() -> None:
    assert play(bearer(ALICE), chat()).seen.metadata["client"] == "alice"
    assert play(bearer(BOB), chat("nope")).seen.metadata["client"] == "bob"


# Models and routes

MODELS: dict[str, tuple[str | None, bool]] = {
    "by name": ("gpt-4o", True),
    "by prefix": ("gpt-5-mini", True),
    "by expression": ("qwen-vl", True),
    "another": ("gpt-4", False),
    "more than the name": ("gpt-4o-mini", False),
    "another case": ("GPT-4o", False),
    "none": (None, False),
    "an empty one": ("", False),
}


@pytest.mark.parametrize("host", ["h", "qwen"])
@pytest.mark.parametrize("case", MODELS)
def test_a_client_may_ask_for_its_models_only(case: str, host: str) -> None:
    model, allowed = MODELS[case]
    played = play(bearer(BOB), chat(model), host=host)
    if allowed:
        assert played.seen.upstream is not None
    else:
        assert error(played) == FORBIDDEN


EVASIONS: dict[str, dict[str, Any]] = {
    "another spelling that Go takes for model": {"body": {**chat(), "Model": "gpt-4"}},
    "an upload that names a model in a form": {"path": "/v1/images/edits", "body": b"x", "kind": "multipart/form-data"},
    "a chat under a type that streams past": {"path": "/v1/images/edits", "body": chat(), "kind": "text/plain"},
    "a batch, whose models are in a file": {"path": "/v1/batches", "body": {"model": "gpt-4o", "input_file_id": "f"}},
    "an upload for a batch": {"path": "/v1/files", "body": b"x", "kind": "multipart/form-data"},
    "a job": {"path": "/v1/fine_tuning/jobs", "body": {"model": "gpt-4o"}},
    "a model in the path": {"path": "/v1/engines/gpt-4/completions", "body": {"model": "gpt-4o"}},
    "an application of DashScope": {"path": "/api/v1/apps/x/completion", "body": {"model": "gpt-4o"}, "host": "native"},
}  # fmt: skip


@pytest.mark.parametrize("case", EVASIONS)
def test_what_cannot_be_checked_is_refused(case: str) -> None:
    given = dict(EVASIONS[case])
    played = play({**bearer(BOB), "content-type": given.pop("kind", "application/json")}, **given)
    assert error(played) == FORBIDDEN
    allowed = play({**bearer(ALICE), "content-type": EVASIONS[case].get("kind", "application/json")}, **given)
    assert allowed.seen.upstream is not None


def test_of_a_model_named_twice_the_vendor_sees_what_was_checked() -> None:
    body = b'{"model":"gpt-4","model":"gpt-4o","messages":[{"role":"user","content":"hi"}]}'
    played = play(bearer(BOB), body)
    assert played.seen.upstream_body is not None
    assert b'"gpt-4"' not in played.seen.upstream_body
    assert json.loads(played.seen.upstream_body)["model"] == "gpt-4o"


def test_a_request_without_a_body_needs_no_model() -> None:
    assert play(bearer(BOB), method="GET", path="/v1/responses/r").seen.upstream is not None
    assert play(bearer(BOB), method="POST", path="/v1/responses/r/cancel").seen.upstream is not None


def test_a_client_without_models_may_ask_for_none() -> None:
    assert error(play(bearer(DAVE), chat())) == FORBIDDEN


ROUTED: list[tuple[str, str, str | None, dict[str, str], str | None]] = [
    # client, host, model, more headers → the route, None for 404
    (ALICE, "h", "gpt-4o", {}, "own"),
    (ALICE, "qwen", "gpt-4o", {}, "qwen"),
    (ALICE, "h", "kimi-k2", {}, "kimi"),
    (CAROL, "qwen", "gpt-4o", {}, "qwen"),
    (CAROL, "h", "kimi-k2", {}, "kimi"),
    (CAROL, "h", "gpt-4o", {}, None),
    (BOB, "qwen", "gpt-4o", {}, "qwen"),
    # A route by bearer token works for who shows the key in another header.
    ("", "h", "gpt-4o", {"x-api-key": ALICE, "authorization": "Bearer qwen"}, "by-key"),
]


@pytest.mark.parametrize(("key", "host", "model", "more", "route"), ROUTED)
def test_a_client_has_its_own_routes(key: str, host: str, model: str, more: dict[str, str], route: str | None) -> None:
    played = play({**bearer(key), **more}, chat(model), host=host)
    assert played.seen.record.route == route
    if route is None:
        assert error(played)[0] == 404


LISTS = [
    (ALICE, "qwen", ["gpt-4o"]),
    (BOB, "qwen", ["gpt-4o"]),
    (BOB, "own", ["gpt-4o"]),  # only the vendor knows: what is spelled out
    (ALICE, "own", None),
    (DAVE, "own", []),
]


@pytest.mark.parametrize(("key", "provider", "names"), LISTS)
def test_the_list_of_models_has_what_a_client_may_use(key: str, provider: str, names: list[str] | None) -> None:
    config = Config.model_construct(
        providers=CONFIG.providers,
        routes=({r.name: r for r in CONFIG.routes}[provider].model_copy(update={"match": CONFIG.routes[-1].match}),),
        max_body_bytes=1 << 20,
        cors_origins=(),
        clients=CONFIG.clients,
    )
    played = Play(config)
    played.request({**HEAD, **bearer(key), ":method": "GET", ":path": "/v1/models"}, None, {})
    if names is None:
        assert played.seen.upstream is not None
        return
    assert [m["id"] for m in json.loads(played.seen.client_body)["data"]] == names
    for name in ("gpt-4o", "gpt-4"):
        single = Play(config)
        single.request({**HEAD, **bearer(key), ":method": "GET", ":path": f"/v1/models/{name}"}, None, {})
        assert single.seen.status == (200 if name in names else 404)


LONG = {
    "of one segment": {":path": "/" + "a" * 60_000},
    "of many segments": {":path": "/a" * 30_000},
    "of nothing but slashes": {":path": "/" * 60_000},
    "encoded": {":path": "/v1/" + "%25" * 20_000},
    "encoded again and again": {":path": "/%2525252525" * 5000},
    "of dots": {":path": "/..%2f" * 10_000},
    "of a query": {":path": "/v1/models?" + "&a=%41" * 10_000},
    "a key": {"authorization": "Bearer " + "k" * 60_000},
    "three keys": dict.fromkeys(("authorization", "x-api-key", "api-key"), "Bearer " + "k" * 20000),
}


def work(config: Config, headers: Mapping[str, str]) -> int:
    """How many functions are called until a head is answered, those of C included."""
    calls = 0

    def count(_frame: object, event: str, _arg: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    played = Play(config)
    sys.setprofile(count)
    try:
        played.request({**HEAD, **headers}, None, {})
    finally:
        sys.setprofile(None)
    return calls


@pytest.mark.parametrize("kind", LONG)
def test_who_has_no_key_costs_as_much_with_a_long_head_as_with_a_short_one(kind: str) -> None:
    short = {name: value[:40] for name, value in LONG[kind].items()}
    assert work(CONFIG, LONG[kind]) <= work(CONFIG, short) + 5
    refused = play(LONG[kind])
    assert refused.seen.status == 401
    assert len(refused.seen.record.path) <= 512


@pytest.mark.parametrize("kind", [kind for kind in LONG if "key" not in kind])
def test_who_has_one_pays_for_the_length_at_most(kind: str) -> None:
    short = {name: value[:40] for name, value in LONG[kind].items()}
    assert work(OPEN, LONG[kind]) <= 2 * work(OPEN, short) + 100


def test_no_key_is_as_long_as_what_is_looked_at() -> None:
    assert KeyHash.read("k" * 4095)
    with pytest.raises(ValueError, match="shorter than 4096"):
        KeyHash.read("k" * 4096)
    known = config_of({"providers": [{"id": "own", "type": "openai"}], "clients": [{"name": "a", "key": "k" * 4095}]})
    assert admit(known.client_keys, {"x-api-key": "k" * 4095}).name == "a"
    with pytest.raises(InvalidApiKey):
        admit(known.client_keys, {"x-api-key": "k" * 4096})
