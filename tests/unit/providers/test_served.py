"""The table "What is served" of `docs/vendors.md`, held against what the core does: each cell is asked for."""

from collections.abc import Iterator, Mapping
import json
from pathlib import Path
from typing import Any

import pytest

from extproc.config.config import Config
from extproc.providers.vendors import ROWS
from tests.unit.player import Play
from tests.unit.providers.test_vendor_suite import provider

PAGE = Path(__file__).parents[3] / "docs" / "vendors.md"
SAID: Any = [{"role": "user", "content": "hi"}]
ASKED: Mapping[str, tuple[str, str, dict[str, Any] | None]] = {
    "chat": ("POST", "chat/completions", {"messages": SAID}),
    "completions": ("POST", "completions", {"prompt": "a"}),
    "embeddings": ("POST", "embeddings", {"input": "a"}),
    "responses": ("POST", "responses", {"input": "a"}),
    "messages": ("POST", "messages", {"max_tokens": 9, "messages": SAID}),
    "models": ("GET", "models", None),
    "images": ("POST", "images/generations", {"prompt": "a"}),
    "audio": ("POST", "audio/speech", {"input": "a", "voice": "b"}),
    "rerank": ("POST", "rerank", {"query": "a", "documents": ["b"]}),
    "files": ("GET", "files", None),
    "batches": ("GET", "batches", None),
    "other": ("POST", "moderations", {"input": "a"}),
}


def cells() -> Iterator[tuple[str, str, str]]:
    lines = PAGE.read_text().splitlines()
    start = lines.index("<!-- made: served -->") + 1
    heads = [head.strip() for head in lines[start].strip("|").split("|")]
    for line in lines[start + 2 : lines.index("<!-- end -->", start)]:
        row = [cell.strip() for cell in line.strip("|").split("|")]
        for head, cell in zip(heads[3:], row[3:], strict=True):
            yield row[0].strip("`"), head, cell


CELLS = list(cells())


def test_every_row_is_in_it() -> None:
    assert {type for type, _, _ in CELLS} == set(ROWS)


@pytest.mark.parametrize("type", ROWS)
def test_what_a_row_serves(type: str) -> None:
    config = Config.model_validate({"providers": [provider(ROWS[type])]})
    for row, head, cell in CELLS:
        if row != type or (head == "other" and cell != "404"):
            continue
        method, path, given = ASKED[head]
        play = Play(config)
        sent = None if given is None else json.dumps({"model": "m", **given}).encode()
        names = {":method": method, ":path": f"/v1/{path}", ":authority": "g", "content-type": "application/json"}
        play.request({k: v for k, v in names.items() if given is not None or k != "content-type"}, sent, {})
        said = f"{type}: {head} is {cell!r} in the table, and was answered {play.seen.client_body[:200]!r}"
        if cell.startswith(("passed", "list", "yours", "every")):
            assert play.seen.upstream is not None, said
            if "`" in cell:
                assert play.seen.upstream[":path"].startswith(cell.split("`")[1].split("{")[0]), said
        elif cell.startswith("converted"):
            assert play.seen.upstream is not None, said
            assert "messages" in json.loads(play.seen.upstream_body or b"{}"), said
        else:
            assert cell == "404", said
            assert play.seen.status == 404, said
            error = json.loads(play.seen.client_body)["error"]
            assert error["code"] == "unsupported_api", said
            assert error["message"], said
