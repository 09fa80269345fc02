"""Models on another path than is known of their names: learnt once, told others, bounded."""

import json
from typing import Any

import pytest

from extproc.exchange.exchange import Exchange, Moment, Snapshot
from extproc.keys.paths import Paths, Turn
from extproc.providers import Provider
from extproc.terms.agreed import AGAIN_HEADER
from extproc.terms.events import Forward, RequestBody, RequestHeaders, ResponseBody, ResponseHeaders
from tests.unit.exchanges import CHAT, HEAD, VIA
from tests.unit.player import NONCE, NOW, config_of
from tests.unit.vectors import dump

REFUSAL = dump({"code": "InvalidParameter", "message": "url error, please check url！", "request_id": "r"})


def vendor(**more: Any) -> Provider:
    return config_of({"providers": [{"id": "q", "type": "qwen", "apiTokens": ["sk-qwen-1"], **more}]}).providers[0]


def test_the_other_path_once() -> None:
    told: list[tuple[str, Turn]] = []
    paths, qwen = Paths(lambda provider, turn: told.append((provider, turn))), vendor()
    assert not paths.turned(qwen, "m")
    assert paths.refused(qwen, "m", turned=False)
    assert paths.turned(qwen, "m")
    assert paths.refused(qwen, "m", turned=False), "another exchange was under way"
    assert not paths.refused(qwen, "m", turned=True), "neither path answers"
    assert not paths.turned(qwen, "m")
    assert not paths.refused(qwen, "m", turned=False), "so it is not tried for ever"
    assert [(provider, turn.turned) for provider, turn in told] == [("q", True), ("q", False)]


def test_it_belongs_to_one_vendor_at_one_place() -> None:
    paths = Paths()
    paths.refused(vendor(), "m", turned=False)
    assert paths.turned(vendor(id="another-id"), "m")
    assert not paths.turned(vendor(qwenDomain="dashscope-intl.aliyuncs.com"), "m")
    assert not paths.turned(vendor(), "n")


def test_another_process_has_learnt_it_and_there_is_an_end_to_it() -> None:
    paths, qwen = Paths(), vendor()
    for n in range(1030):
        paths.keep(Turn(qwen.place, f"m{n}", True))
    assert [paths.turned(qwen, name) for name in ("m0", "m1029")] == [False, True]
    assert not paths.refused(qwen, "x" * 1000, turned=False)


def answered(
    paths: Paths, refusal: bytes = REFUSAL, model: str = "nobody-knows", **provider: Any
) -> tuple[str, Forward]:
    """The path on which the vendor was asked, and what its refusal becomes."""
    snapshot = Snapshot(
        config_of({"providers": [{"id": "q", "type": "qwen", "apiTokens": ["sk-qwen-1"], **provider}]}), {}, paths=paths
    )
    exchange = Exchange(snapshot, Moment(NOW, NONCE))
    exchange.handle(RequestHeaders(HEAD, False, {}))
    sent = exchange.handle(RequestBody(dump({**CHAT, "model": model})))
    assert isinstance(sent, Forward)
    exchange.handle(ResponseHeaders({":status": "400", "content-type": "application/json"}, False, VIA))
    reply = exchange.handle(ResponseBody(refusal, True))
    assert isinstance(reply, Forward)
    return sent.set_headers[":path"].rsplit("/", 2)[-2], reply


def test_the_next_request_goes_the_other_way() -> None:
    paths = Paths()
    path, reply = answered(paths)
    assert path == "text-generation"
    assert "try again" in json.loads(reply.body or b"")["error"]["message"]
    assert AGAIN_HEADER not in reply.set_headers, "nobody makes a second attempt in front of the routes"
    path, reply = answered(paths)
    assert path == "multimodal-generation"
    assert "try again" not in json.loads(reply.body or b"")["error"]["message"]
    assert answered(paths)[0] == "text-generation"


@pytest.mark.parametrize(
    "given",
    [
        {"multimodalModels": ["qwen-vl*"]},
        {"families": {"nobody-*": {"path": "text"}}},
        {"refusal": dump({"code": "InvalidParameter", "message": "no such parameter", "request_id": "r"})},
    ],
    ids=["a list", "families", "another refusal"],
)
def test_what_is_configured_is_not_doubted(given: dict[str, Any]) -> None:
    paths = Paths()
    assert "try again" not in str(answered(paths, **given)[1].body)
    assert answered(paths, **given)[0] == "text-generation"
