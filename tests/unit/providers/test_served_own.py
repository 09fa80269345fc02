"""The table "What is served" of `docs/configuration.md`: vendors with a protocol of their own and the first four. Each
cell is asked for, and what its last column says in words."""

from collections.abc import Iterator, Mapping
import json
from pathlib import Path
from typing import Any

import pytest

from extproc.config.config import Config
from tests.unit.player import Play
from tests.unit.providers.test_protocol_suite import PLACES
from tests.unit.providers.test_served import ASKED, SAID

PAGE = Path(__file__).parents[3] / "docs" / "configuration.md"
KEY = {"apiTokens": ["k"]}
QWEN = {"type": "qwen", **KEY}
WHO: Mapping[str, tuple[dict[str, Any], str]] = {
    "`qwen` (native, default)": (QWEN, "qwen3.8-flash"),
    "`qwen` (`qwenEnableCompatible: true`)": ({**QWEN, "qwenEnableCompatible": True}, "qwen3.8-flash"),
    "`qwen` (`protocol: original`)": ({**QWEN, "protocol": "original"}, "qwen3.8-flash"),
    "`openai`": ({"type": "openai", **KEY}, "gpt-6-luna"),
    "`azure`": ({"type": "azure", **KEY, "azureServiceUrl": "https://r.example?api-version=v"}, "gpt-6-luna"),
    "`moonshot`": ({"type": "moonshot", **KEY}, "kimi-k3"),
    "`claude`": PLACES["claude"],
    "`gemini`": PLACES["gemini"],
    "`vertex`": PLACES["vertex"],
    "`bedrock`": next((given, model) for given, model in PLACES.values() if given["type"] == "bedrock"),
}
CHATS = ("messages", "contents", "input")
"""What a chat is called in a vendor's own terms, `input` in those of DashScope."""

CONVERSATION: tuple[str, str, dict[str, Any] | None] = ("GET", "conversations/c", None)
IMAGES, RERANK, MESSAGES, OTHER = ASKED["images"], ASKED["rerank"], ASKED["messages"], ASKED["other"]
OTHERS: Mapping[str, list[tuple[tuple[str, str, dict[str, Any] | None], str]]] = {
    "`qwen` (native, default)": [
        (CONVERSATION, "/compatible-mode/v1/conversations/c"),
        (IMAGES, "/api/v1/services/aigc/multimodal-generation/generation"),
        (RERANK, "/api/v1/services/rerank/text-rerank/text-rerank"),
        (OTHER, "404"),
    ],
    "`qwen` (`qwenEnableCompatible: true`)": [
        (CONVERSATION, "/compatible-mode/v1/conversations/c"),
        (IMAGES, "/api/v1/services/aigc/multimodal-generation/generation"),
        (RERANK, "/compatible-"),
        (OTHER, "404"),
    ],
    "`openai`": [(OTHER, "/v1/moderations"), (IMAGES, "/v1/images/generations")],
    "`azure`": [(OTHER, "/openai/"), (IMAGES, "/openai/")],
    "`moonshot`": [(OTHER, "404"), (IMAGES, "404")],
    "`claude`": [(MESSAGES, "/v1/messages"), (OTHER, "404")],
    "`gemini`": [(OTHER, "404"), (IMAGES, "404")],
    "`vertex`": [(OTHER, "404"), (IMAGES, "404")],
    "`bedrock`": [(OTHER, "404"), (IMAGES, "404")],
}


def cells() -> Iterator[tuple[str, str, str]]:
    lines = PAGE.read_text().splitlines()
    start = lines.index("## What is served") + 2
    heads = [head.strip() for head in lines[start].strip("|").split("|")]
    for line in lines[start + 2 : lines.index("", start)]:
        row = [cell.strip() for cell in line.strip("|").split("|")]
        for head, cell in zip(heads[1:-1], row[1:-1], strict=True):
            yield row[0], head.partition("/")[0], cell


CELLS = list(cells())


def ask(who: str, asked: tuple[str, str, dict[str, Any] | None], **more: Any) -> Play:
    """What is asked of a vendor, under the table's name of it."""
    (provider, model), (method, path, given) = WHO[who], asked
    config = Config.model_validate({"providers": [{**provider, "id": "p", **more}]})
    sent = None if given is None else json.dumps({"model": model, **given}).encode()
    play = Play(config, {"p#token": "t"})
    head = {":method": method, ":path": f"/v1/{path}", ":authority": "g"}
    play.request({**head, **({} if given is None else {"content-type": "application/json"})}, sent, {})
    return play


def is_lacking(play: Play) -> bool:
    return play.seen.status == 404 and json.loads(play.seen.client_body)["error"]["code"] == "unsupported_api"


def test_every_row_is_asked() -> None:
    assert list(dict.fromkeys(row for row, _, _ in CELLS)) == list(WHO)


@pytest.mark.parametrize(
    ("row", "head", "cell"), CELLS, ids=[f"{row} {head}".replace("`", "") for row, head, _ in CELLS]
)
def test_a_cell_is_what_is_done(row: str, head: str, cell: str) -> None:
    play = ask(row, ASKED[head])
    if cell in ("404", "–"):
        assert is_lacking(play)
        return
    if cell.startswith("list"):
        own = json.loads(ask(row, ASKED[head], models=["一"]).seen.client_body)
        assert [one["id"] for one in own["data"]] == ["一"]
        if "or" not in cell:
            assert is_lacking(play)
            return
    assert play.seen.upstream is not None, play.seen.client_body
    sent, given = play.seen.upstream_body, ASKED[head][2] or {}
    if cell.startswith("passed") or head == "models":
        assert sent is None or given.items() <= json.loads(sent).items()
    elif head == "embeddings":
        assert json.loads(sent or b"").get("input") != given["input"]
    else:
        assert cell.startswith(("converted", "through chat"))
        body = json.loads(sent or b"")
        assert any(name in body for name in CHATS)
        assert body.get("messages") != SAID or cell.startswith("through chat")
    if "¹" in cell:
        assert play.seen.upstream[":path"].startswith("/compatible-mode/v1/")


@pytest.mark.parametrize("row", OTHERS)
def test_what_the_last_column_says(row: str) -> None:
    for asked, path in OTHERS[row]:
        play = ask(row, asked)
        if path == "404":
            assert is_lacking(play), asked
        else:
            assert play.seen.upstream is not None, play.seen.client_body
            assert play.seen.upstream[":path"].startswith(path)
