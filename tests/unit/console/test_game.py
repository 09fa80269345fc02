"""The blind game: what is blanked, what comes together, who is meant, who is better, and that nobody is named."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
import json
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer
import pytest
from structlog.testing import capture_logs

from extproc.console.elo import Vote, ratings
from extproc.console.game import together
from extproc.console.naming import BLANK, Blanker, blanked, is_meant
from extproc.console.votes import Votes
from extproc.console.ways import ways

from .house import House, configured, looking

TEXTS = [
    ("I am ChatGPT.", f"I am {BLANK}"),
    ("我是通义千问，由阿里云开发。", f"我是{BLANK}，由{BLANK}开发。"),
    ("gpt-4o-mini and GPT 4", f"{BLANK} and {BLANK} 4"),
    ("QWEN是我", f"{BLANK}是我"),
    ("As planted-model-7, I …", f"As {BLANK}, I …"),
    ("metagpts are not blanked, egpt neither", "metagpts are not blanked, egpt neither"),
    ("nothing to hide: ge, gem, mini", "nothing to hide: ge, gem, mini"),
    ("", ""),
]


@pytest.mark.parametrize(("text", "shown"), TEXTS)
def test_names_are_blanked_however_they_are_cut(text: str, shown: str) -> None:
    names = ["planted-model-7"]
    assert blanked(text, names) == shown
    for size in range(1, 6):
        blanker, out = Blanker(names), ""
        for at in range(0, len(text), size):
            piece = blanker.feed(text[at : at + size])
            assert "gpt" not in piece.lower() or "egpt" in text or "metagpt" in text
            out += piece
        assert out + blanker.close() == shown, size


@pytest.mark.parametrize(
    ("guess", "names", "meant"),
    [
        ("qwen", {"qwen", "qwen3.8-max"}, True),
        ("通义千问", {"qwen"}, True),
        ("ChatGPT", {"openai", "gpt-6"}, True),
        ("kimi", {"moonshot", "kimi-k3"}, True),
        ("kimi", {"qwen"}, False),
        ("gpt-6", {"openai", "gpt-6-luna"}, True),
        ("", {"qwen"}, False),
        ("q", {"qwen"}, False),
    ],
)
def test_who_is_meant(guess: str, names: set[str], meant: bool) -> None:
    assert is_meant(guess, names) == meant


def test_ratings_do_not_depend_on_the_order_and_say_how_sure_they_are() -> None:
    votes = [Vote("a", "b", 1), Vote("b", "c", 1), Vote("a", "c", 1), Vote("a", "b", 0.5)] * 5
    found = ratings(votes)
    assert [r.name for r in found] == ["a", "b", "c"]
    assert found == ratings(reversed(votes))
    few = ratings(votes[:4])
    assert all(some.margin > many.margin for some, many in zip(few, found, strict=True))
    assert sum(r.won for r in found) == len(votes)
    one = ratings([Vote("a", "b", 1)])
    assert 1000 < one[0].elo < 1400
    assert one[0].margin > 300
    assert ratings([]) == ratings([Vote("a", "a", 1)]) == []


def test_ratings_against_the_closed_form() -> None:
    """Without our belief the most likely difference after 3 of 4 is ln 3; with it, a little less."""
    first, second = ratings([Vote("a", "b", 1)] * 300 + [Vote("b", "a", 1)] * 100)
    assert 185 < first.elo - second.elo <= 190.9


async def pieces(*moments: tuple[float, str]) -> AsyncGenerator[Mapping[str, Any], None]:
    for seconds, text in moments:
        await asyncio.sleep(seconds)
        yield {"text": text}


async def test_first_words_come_together() -> None:
    gate = asyncio.Event()

    async def late() -> AsyncGenerator[Mapping[str, Any], None]:
        await gate.wait()
        yield {"text": "b"}

    stream = together([pieces((0, "a1"), (0, "a2")), late()], patience=60)
    first = asyncio.ensure_future(anext(stream))
    for _ in range(20):
        await asyncio.sleep(0)
    assert not first.done()
    gate.set()
    assert [await first, *[one async for one in stream]] == [
        (0, {"text": "a1"}),
        (0, {"text": "a2"}),
        (1, {"text": "b"}),
    ]


async def test_who_is_too_slow_is_not_waited_for() -> None:
    stream = together([pieces((0, "a")), pieces((3600, "b"))], patience=0.01)
    assert await anext(stream) == (0, {"text": "a"})
    await stream.aclose()


def test_votes_are_kept_counted_and_cleared(tmp_path: Path) -> None:
    votes = Votes(tmp_path / "new" / "votes.db")
    votes.add("duel", ("a", "b"), "left", True)
    votes.add("duel", ("b", "a"), "neither", None)
    votes.add("duel", ("b", "a"), None, None)
    votes.close()
    votes = Votes(tmp_path / "new" / "votes.db")
    table = votes.table()
    assert {name: table[name] for name in ("games", "guesses", "right", "votes")} == {
        "games": 2, "guesses": 1, "right": 1, "votes": 2,
    }  # fmt: skip
    assert [r["name"] for r in table["ratings"]] == ["a", "b"]
    votes.clear()
    assert votes.table()["games"] == 0
    assert (tmp_path / "new" / "votes.db").stat().st_mode & 0o777 == 0o600


def test_where_the_file_of_votes_cannot_be_used_they_live_as_long_as_the_process(tmp_path: Path) -> None:
    damaged = tmp_path / "votes.db"
    damaged.write_text("no database " * 100)
    for path in (tmp_path, damaged):
        with capture_logs() as logs:
            votes = Votes(path)
            votes.add("duel", ("a", "b"), "left", True)
        assert votes.table()["votes"] == 1
        assert [entry["event"] for entry in logs] == ["votes of the blind game are kept in memory only"]


TWO = {
    "providers": [
        {"id": "left-planted", "type": "qwen", "apiTokens": ["k"], "modelMapping": {"asked-a": "vendor-planted-a"}},
        {"id": "right-planted", "type": "openai", "apiTokens": ["k"], "models": ["planted-b"]},
    ],
    "routes": [
        {"name": "route-planted-a", "match": {"pathPrefix": "/a/", "hosts": ["*.a.test"]}, "provider": "left-planted"},
        {"name": "route-planted-b", "match": {"headers": {"x-way": "b"}}, "provider": "right-planted"},
        {"name": "refused", "match": {"pathPrefix": "/none"}, "provider": None},
    ],
}


def test_how_routes_are_reached() -> None:
    found = ways(configured(**TWO))
    assert list(found) == ["route-planted-a", "route-planted-b"]
    a, b = found.values()
    assert (a.prefix, dict(a.headers), a.models[0]) == ("/a", {"host": "console.a.test"}, "asked-a")
    assert (b.prefix, dict(b.headers), b.models[0]) == ("", {"x-way": "b"}, "planted-b")


class Gateway:
    """Answers chats as a model does that cannot keep a secret. `asked`: their bodies and headers."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Mapping[str, str], Any]] = []
        self.status = 200

    async def chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.asked.append((request.path, dict(request.headers), body))
        if self.status != 200:
            return web.json_response({"error": {"message": "planted-b of left-planted failed"}}, status=self.status)
        answer = web.StreamResponse(headers={"content-type": "text/event-stream", "x-ai-provider": "left-planted"})
        await answer.prepare(request)
        for piece in ("I am vendor-plan", "ted-a, or Chat", "GPT", ". Who are you?"):
            event = {"choices": [{"delta": {"content": piece}}]}
            await answer.write(f"data: {json.dumps(event)}\n\n".encode())
        await answer.write(b"data: [DONE]\n\n")
        return answer


@pytest.fixture
async def gateway() -> AsyncGenerator[tuple[Gateway, str], None]:
    played = Gateway()
    app = web.Application()
    app.add_routes([web.post("/{path:.*}", played.chat)])
    async with TestServer(app) as server:
        yield played, str(server.make_url("")).rstrip("/")


NAMES = ("planted", "asked-a", "gpt", "qwen", "openai")


async def posted(client: Any, path: str, **body: Any) -> tuple[int, str]:
    answer = await client.post(f"/console/api/{path}", json=body, headers={"X-Console": "1"})
    return answer.status, await answer.text()


def events(text: str) -> list[Any]:
    return [json.loads(line.removeprefix("data: ")) for line in text.split("\n\n") if line]


@pytest.mark.parametrize("status", [200, 500])
async def test_a_duel_names_nobody_before_the_end(gateway: tuple[Gateway, str], status: int) -> None:
    played, base = gateway
    played.status = status
    async with looking(House(configured(**TWO), base=base)) as client:
        received = [await posted(client, "game/start", kind="duel", language="en")]
        game = json.loads(received[0][1])["game"]
        received.append(await posted(client, "game/ask", game=game, text="Who are you?"))
        received.append(await posted(client, "game/ask", game=game, text="And now?"))
        received.append(await posted(client, "game/vote", game=game, verdict="left"))
        received.append((200, await (await client.get("/console/api/game")).text()))
        assert [s for s, _ in received] == [200] * 5
        assert [name for name in NAMES if name in "".join(t for _, t in received).lower()] == []
        if status == 200:
            pieces = events(received[1][1])
            said = ["".join(p.get("text", "") for p in pieces if p.get("face") == face) for face in (0, 1)]
            assert said == [f"I am {BLANK}, or {BLANK} Who are you?"] * 2
            assert pieces[-1] == {"end": True}
        else:
            assert {"face": 0, "failed": True} in events(received[1][1])
        told = json.loads((await posted(client, "game/reveal", game=game, guess=["qwen", "openai"]))[1])
        by_provider = {face["provider"]: face for face in told["faces"]}
        assert set(by_provider) == {"left-planted", "right-planted"}
        assert told["guessed"] == (told["faces"][0]["provider"] == "left-planted")
        assert told["votes"] == 1
        assert (await posted(client, "game/ask", game=game, text="more?"))[0] == 409
        assert (await posted(client, "game/vote", game=game, verdict="right"))[0] == 409
        again = json.loads((await posted(client, "game/reveal", game=game))[1])
        assert again["games"] == 1
    first = played.asked[0][2]
    assert first["messages"][0]["role"] == "system"
    assert "Never say who you are" in first["messages"][0]["content"]
    assert {p for p, _, _ in played.asked} == {"/a/v1/chat/completions", "/v1/chat/completions"}
    assert len(played.asked[2][2]["messages"]) == 4 or len(played.asked[3][2]["messages"]) == 4


async def test_who_has_which_face_is_drawn_anew(gateway: tuple[Gateway, str]) -> None:
    _, base = gateway
    seen = set()
    async with looking(House(configured(**TWO), base=base)) as client:
        for _ in range(40):
            game = json.loads((await posted(client, "game/start", kind="duel", language="en"))[1])["game"]
            await posted(client, "game/ask", game=game, text="hi")
            seen.add(json.loads((await posted(client, "game/reveal", game=game))[1])["faces"][0]["provider"])
            if len(seen) == 2:
                return
    pytest.fail(f"40 games, and the first face was always {seen}")


async def test_a_dialogue_changes_places_and_what_is_passed_on_is_blanked(gateway: tuple[Gateway, str]) -> None:
    played, base = gateway
    async with looking(House(configured(**TWO), base=base)) as client:
        game = json.loads((await posted(client, "game/start", kind="dialogue", language="zh"))[1])["game"]
        status, text = await posted(client, "game/talk", game=game)
        assert status == 200
        assert [name for name in NAMES if name in text.lower()] == []
        begins = [(p["face"], p["asks"]) for p in events(text) if p.get("begins")]
        assert begins == [(0, True), (1, False)] * 3 + [(1, True), (0, False)] * 3
        assert (await posted(client, "game/talk", game=game))[0] == 409
    for _, _, body in played.asked:
        users = [m["content"] for m in body["messages"] if m["role"] == "user"]
        assert [name for name in NAMES if name in "".join(users).lower()] == []


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("game/start", {"kind": "solo", "language": "en"}, 400),
        ("game/start", {"kind": "duel", "language": "en", "chosen": [["route-planted-a", "asked-a"]]}, 409),
        ("game/start", {"kind": "duel", "language": "en", "key": "a\nb"}, 400),
        ("game/ask", {"game": "unknown", "text": "hi"}, 409),
        ("game/ask", {"game": "unknown", "text": "x" * 4001}, 400),
        ("game/talk", {"game": "unknown"}, 409),
        ("game/vote", {"game": "unknown", "verdict": "left"}, 409),
        ("game/vote", {"game": "unknown", "verdict": "best"}, 400),
        ("game/reveal", {"game": "unknown"}, 409),
        ("play", {"route": "none", "model": "m", "text": "hi"}, 400),
        ("play", {"route": "route-planted-a", "model": "m", "text": "hi", "key": "你"}, 400),
    ],
)
async def test_what_cannot_be_played_is_refused(path: str, body: Any, status: int) -> None:
    async with looking(House(configured(**TWO), base="http://127.0.0.1:9")) as client:
        assert (await posted(client, path, **body))[0] == status


async def test_without_a_gateway_the_reason_is_said() -> None:
    async with looking(House(configured(**TWO))) as client:
        status, text = await posted(client, "game/start", kind="duel", language="en")
        assert status == 409
        assert "console: {gateway:" in text


async def test_the_playground_shows_what_was_sent_without_the_key(gateway: tuple[Gateway, str]) -> None:
    played, base = gateway
    async with looking(House(configured(**TWO), base=base)) as client:
        more = {"system": "s", "parameters": {"top_p": 1}, "tools": [{"type": "function"}], "key": "sk-PLANTEDKEY-a1b2"}
        asked = {"route": "route-planted-b", "model": "planted-b", "text": "hi", "image": "data:image/png;base64,AA"}
        status, text = await posted(client, "play", **asked, **more)
    assert status == 200
    assert "PLANTEDKEY" not in text
    assert "TOKEN" not in text
    end = events(text)[-1]["end"]
    assert "authorization: Bearer sk-…a1b2" in end["sent"]["headers"]
    assert json.loads(end["sent"]["body"]) == played.asked[0][2]
    assert played.asked[0][2] | {"messages": []} == {
        "model": "planted-b", "messages": [], "stream": True, "tools": [{"type": "function"}], "top_p": 1,
    }  # fmt: skip
    assert played.asked[0][1]["x-ai-console"].startswith("TOKEN.")
    assert end["got"]["first"] == "200"
    assert "vendor-plan" in end["got"]["body"]


async def test_votes_can_be_had_and_cleared(gateway: tuple[Gateway, str]) -> None:
    _, base = gateway
    async with looking(House(configured(**TWO), base=base)) as client:
        game = json.loads((await posted(client, "game/start", kind="duel", language="en"))[1])["game"]
        await posted(client, "game/ask", game=game, text="hi")
        await posted(client, "game/vote", game=game, verdict="both")
        await posted(client, "game/reveal", game=game)
        exported = await client.get("/console/api/game/export")
        assert exported.headers["Content-Disposition"].startswith("attachment")
        assert [g["verdict"] for g in (await exported.json())["all"]] == ["both"]
        assert (await client.get("/console/api/game/clear")).status == 405
        await posted(client, "game/clear")
        assert (await (await client.get("/console/api/game")).json())["games"] == 0


async def test_setting_up_is_filled_in() -> None:
    async with looking(House(configured(**TWO), base="http://h:1")) as client:
        told = await (await client.get("/console/api/setup?route=route-planted-a")).json()
    assert told["base"] == "http://h:1/a"
    assert {s["id"] for s in told["snippets"]} >= {"curl", "openai-python", "openai-node", "claude-code", "codex"}
    assert all("http://h:1/a" in s["text"] and "asked-a" in s["text"] for s in told["snippets"])
