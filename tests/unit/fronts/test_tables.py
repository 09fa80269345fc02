"""The tables of the documents, held against what the gateway does: which vendor has which API, what a front carries."""

from collections.abc import Mapping
import json
import re
from typing import Any

import pytest

from extproc.config.config import Config
from extproc.providers.vendors import ROWS, Row
from tests.unit.player import Play
from tools.fronts import SAMPLES, provider
from tools.pages import DOCS
from tools.vendors import COLUMNS

PATHS = {
    "chat": "chat/completions", "images": "images/generations", "audio": "audio/transcriptions",
}  # fmt: skip


def table(page: str, name: str) -> list[list[str]]:
    """The cells of a made table, its head first."""
    found = re.search(rf"<!-- made: {name} -->\n(.*?)<!-- end -->", (DOCS / page).read_text(), re.S)
    assert found
    rows = [line.strip("| ").split(" | ") for line in found[1].splitlines()]
    return [rows[0], *rows[2:]]


def asked(sample: Mapping[str, Any], path: str, body: Any, method: str = "POST") -> Play:
    play = Play(Config.model_validate({"providers": [{"apiTokens": ["k"], **sample}]}))
    head = {":method": method, ":path": path, ":authority": "gw", "content-type": "application/json"}
    play.request(head, None if body is None else json.dumps(body).encode(), {})
    return play


CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
BODIES = {"messages": {**CHAT, "max_tokens": 9}, "responses": {"model": "m", "input": "hi"}}


@pytest.mark.parametrize("row", ROWS.values(), ids=list(ROWS))
def test_what_is_served_by_a_row(row: Row) -> None:
    head, *rows = table("vendors.md", "served")
    cells = dict(zip(head, next(cells for cells in rows if cells[0] == f"`{row.type}`"), strict=True))
    for api in COLUMNS:
        body = None if api == "models" else BODIES.get(api, CHAT)
        play = asked(SAMPLES[row.type], f"/v1/{PATHS.get(api, api)}", body, "GET" if body is None else "POST")
        if cells[api] == "404":
            assert (play.answered, play.answered and play.seen.status) == (True, 404), api
            continue
        assert play.seen.upstream is not None, api
        converted = play.seen.upstream[":path"].endswith("/chat/completions") and api != "chat"
        assert converted == cells[api].startswith("converted"), api
        if path := re.search(r"passed `(/.*)`", cells[api]):
            assert play.seen.upstream[":path"] == path[1]


PDF = {
    "type": "document",
    "title": "d",
    "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBE"},
}
MARKED = {"type": "text", "text": "hi", "cache_control": {"type": "ephemeral", "ttl": "1h"}}
THOUGHT = {"type": "thinking", "thinking": "hm", "signature": "s"}
TOOLS = [
    {"name": "f", "input_schema": {"type": "object"}, "strict": True},
    {"type": "web_search_20250305", "name": "web_search"},
]


@pytest.mark.parametrize("name", SAMPLES)
def test_what_is_carried(name: str) -> None:
    head, *rows = table("fronts.md", "carried")
    plain, comma, rest = name.partition(",")
    cells = dict(zip(head, next(cells for cells in rows if cells[0] == f"`{plain}`{comma}{rest}"), strict=True))
    sample, model = SAMPLES[name], provider(SAMPLES[name]).example_model
    for front, key in (("messages", "messagesApi"), ("responses", "responsesApi")):
        play = asked(sample, f"/v1/{front}", {**BODIES[front], "model": model})
        assert play.seen.record.converted == (cells[front.title()] == "converted")
        if front == "messages" and not play.seen.record.converted:
            sample = {**sample, key: "convert"}
    if provider(sample).type == "claude":  # which passes whatever is said
        return
    body = {"model": model, "max_tokens": 9, "messages": [{"role": "user", "content": [PDF]}]}
    refused = asked(sample, "/v1/messages", body)
    assert (refused.answered and refused.seen.status == 400) == (cells["PDF"] == "400")
    said = [
        {"role": "user", "content": [MARKED]},
        {"role": "assistant", "content": [THOUGHT, {"type": "text", "text": "a"}]},
        {"role": "user", "content": "b"},
    ]
    more = {"top_k": 3, "metadata": {"user_id": "u"}, "tools": TOOLS}
    play = asked(sample, "/v1/messages", {"model": model, "max_tokens": 9, "messages": said, **more})
    assert not play.answered, play.seen.client_body
    dropped = (play.seen.record.dropped or "").split(",")
    for cell, member in (
        ("`cache_control`", "cache_control"), ("`top_k`", "top_k"), ("`strict`", "tools.strict"),
        ("web search", "tools.web_search"), ("user’s id", "metadata.user_id"),
    ):  # fmt: skip
        assert (member in dropped) == (cells[cell] == "–"), (member, dropped)
    sent = play.seen.upstream_body or b""
    assert (b'"hm"' in sent) == (cells["thinking of before"] in ("kept", "required"))
    assert (b'"ttl"' in sent) == (cells["`cache_control`"] == "with `ttl`")
