"""The blind game: two models under two faces, and who is who is told at the end.

Rule: until the reveal nothing that leaves here names a model, a provider or a route, whatever happens: texts are
blanked, errors are without words, the first words of both come together. Who has which face is drawn anew each time.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from decimal import Decimal
import secrets
from typing import Any, Final, Literal

import msgspec

from extproc.config.config import Config
from extproc.console.chats import Chats, Said
from extproc.console.naming import Blanker, blanked, is_meant
from extproc.console.ways import Way

Kind = Literal["duel", "dialogue"]
Verdict = Literal["left", "right", "both", "neither"]

MOST_GAMES: Final = 50
MOST_ROUNDS: Final = 10
LONGEST: Final = 4000
"""Characters of a question."""
TOGETHER: Final = 2.0
"""Seconds that the faster first word waits for the other."""
QUESTIONS: Final = 3
"""How many each asks in a dialogue."""
_TOKENS: Final = 700

_PLAYS: Final = {
    "en": "You take part in a blind comparison. Answer in the language of the question, in at most 150 words. "
    "Never say who you are, who made you, or the name of any model or company.",
    "zh": "你正在参加一场盲测。用提问的语言回答，不超过 200 字。"
    "不要说出你是谁、由谁开发，也不要提及任何模型或公司的名字。",
}
_ASKS: Final = {
    "en": "You talk with another language model and do not know which. Ask it one short question that tells you "
    "something about it: its views, its taste, its knowledge. Only the question, in English. "
    "Never say who you are, and never name any model or company.",
    "zh": "你在和另一个语言模型聊天，但不知道它是谁。问它一个简短的问题，了解它的看法、趣味或见识。"
    "只写这个问题，用中文。不要说出你是谁，也不要提及任何模型或公司的名字。",
}
_OPENS: Final = {"en": "Please begin.", "zh": "请开始。"}


class Unplayable(Exception):
    """What was asked for cannot be played; the words say why, and name nobody."""


@dataclass(slots=True)
class Player:
    """`names`: all that gives it away; `meant`: those that a guess may mean, which a name that clients ask for and the
    vendor never sees is not."""

    way: Way
    model: str
    names: frozenset[str]
    meant: frozenset[str]
    turns: list[dict[str, str]] = field(default_factory=list)
    said: list[Said] = field(default_factory=list)


@dataclass(slots=True)
class Game:
    """`players`: by their faces. `over`: who is who has been told."""

    kind: Kind
    language: str
    key: str = field(repr=False)
    players: tuple[Player, Player]
    busy: bool = False
    rounds: int = 0
    verdict: Verdict | None = None
    over: bool = False


class Games:
    """Those that are played now; the oldest is given up where there are too many."""

    def __init__(self, chats: Chats) -> None:
        self._chats = chats
        self._games: OrderedDict[str, Game] = OrderedDict()

    def start(
        self,
        config: Config,
        ways: Mapping[str, Way],
        kind: Kind,
        language: str,
        key: str,
        chosen: Sequence[tuple[str, str]],
    ) -> str:
        """A new game; its name. `chosen`: routes and models of which two play, all where it is empty. Raises
        `Unplayable`."""
        wanted = chosen or [(name, way.models[0]) for name, way in ways.items() if way.models]
        candidates = [_player(config, ways[r], m) for r, m in dict.fromkeys(wanted) if r in ways and m]
        # Two routes may lead to one model of one vendor: that would be no game.
        distinct = {(_leads_to(p.way), p.model): p for p in candidates}
        if len(distinct) < 2:
            raise Unplayable("a game needs two models or two providers")
        draw = secrets.SystemRandom()
        makers = list({_leads_to(p.way) for p in distinct.values()})
        if len(makers) > 1:
            two = [draw.choice([p for p in distinct.values() if _leads_to(p.way) == m]) for m in draw.sample(makers, 2)]
        else:
            two = draw.sample(list(distinct.values()), 2)
        name = secrets.token_urlsafe(12)
        self._games[name] = Game(kind, language, key, (two[0], two[1]))
        while len(self._games) > MOST_GAMES:
            self._games.popitem(last=False)
        return name

    def get(self, name: str) -> Game:
        """Raises `Unplayable`."""
        if (game := self._games.get(name)) is None:
            raise Unplayable("this game is not known any more")
        self._games.move_to_end(name)
        return game

    async def ask(self, game: Game, text: str) -> AsyncGenerator[Mapping[str, Any], None]:
        """A round of a duel: pieces of both answers."""
        if game.over or game.busy or game.kind != "duel" or game.rounds >= MOST_ROUNDS:
            raise Unplayable("not now")
        game.busy, game.rounds = True, game.rounds + 1
        try:
            for player in game.players:
                player.turns.append({"role": "user", "content": text[:LONGEST]})
            streams = [self._answer(game, player, _PLAYS[game.language]) for player in game.players]
            async with aclosing(together(streams)) as pieces:
                async for face, piece in pieces:
                    yield {"face": face, **piece}
            yield {"end": True}
        finally:
            game.busy = False

    async def talk(self, game: Game) -> AsyncGenerator[Mapping[str, Any], None]:
        """The dialogue: the first asks and the second answers, three times; then they change places."""
        if game.over or game.busy or game.kind != "dialogue" or game.rounds:
            raise Unplayable("not now")
        game.busy, game.rounds = True, 1
        try:
            for asker in (0, 1):
                told = _OPENS[game.language]
                for player in game.players:
                    player.turns.clear()
                for _ in range(QUESTIONS):
                    for face, system in ((asker, _ASKS), (1 - asker, _PLAYS)):
                        player = game.players[face]
                        player.turns.append({"role": "user", "content": told})
                        yield {"face": face, "begins": True, "asks": face == asker}
                        failed = False
                        async with aclosing(self._answer(game, player, system[game.language])) as pieces:
                            async for piece in pieces:
                                failed = failed or "failed" in piece
                                yield {"face": face, **piece}
                        if failed:
                            return
                        told = blanked(player.said[-1].text, _names(game)) or "…"
            yield {"end": True}
        finally:
            game.busy = False

    async def _answer(self, game: Game, player: Player, system: str) -> AsyncGenerator[Mapping[str, Any], None]:
        """A player's answer to its turns, blanked; its own words are kept for it and for the end."""
        said, blanker = Said(), Blanker(_names(game))
        body = {
            "model": player.model,
            "stream": True,
            "max_tokens": _TOKENS,
            "messages": [{"role": "system", "content": system}, *player.turns],
        }
        async with aclosing(self._chats.send(player.way, msgspec.json.encode(body), game.key, said)) as texts:
            async for text in texts:
                if shown := blanker.feed(text):
                    yield {"text": shown}
        if rest := blanker.close():
            yield {"text": rest}
        player.said.append(said)
        player.turns.append({"role": "assistant", "content": said.text or "…"})
        if said.error is not None or not said.text:
            yield {"failed": True}

    def reveal(self, game: Game, guess: Sequence[str]) -> dict[str, Any]:
        """Who is who, and whether that was guessed: `guess` has a word for each face, or none."""
        game.over = True
        right = None
        if len(guess) == 2 and all(guess):
            right = all(
                is_meant(word, game.players[i].meant) and not _only_other(word, game, i) for i, word in enumerate(guess)
            )
        return {"faces": [_revealed(player) for player in game.players], "guessed": right}


def _only_other(word: str, game: Game, face: int) -> bool:
    """Whether a guess for one face names the other's model outright."""
    other, own = game.players[1 - face], game.players[face]
    said = word.strip().lower()
    return said in {n.lower() for n in other.meant} - {n.lower() for n in own.meant}


def _leads_to(way: Way) -> str:
    return way.providers[0]


def _player(config: Config, way: Way, model: str) -> Player:
    mapped = {config.by_id[id].model_mapping.map(model) for id in way.providers}
    makers = {word for id in way.providers for word in (id, config.by_id[id].type)}
    shown = {name for id in way.providers for name in config.by_id[id].model_mapping.written.values()}
    meant = frozenset(filter(None, {*mapped, *makers}))
    return Player(way, model, frozenset(filter(None, {model, way.route, *shown, *meant})), meant)


def label(player: Player) -> str:
    """What goes into the table of votes: the model as its vendor calls it, and who that is."""
    found = _revealed(player)
    return f"{found['upstream_model'] or player.model} @ {found['provider']}"


def _names(game: Game) -> set[str]:
    return set().union(*(player.names for player in game.players))


def _revealed(player: Player) -> dict[str, Any]:
    attempts = [traced.row for said in player.said for traced in said.attempts]
    last = attempts[-1] if attempts else None
    costs = [row.cost for row in attempts if row.cost is not None]
    return {
        "provider": (last.provider if last else None) or player.way.providers[0],
        "model": player.model,
        "upstream_model": last.upstream_model if last else None,
        "tokens": sum(row.total or 0 for row in attempts) or None,
        "cost": str(sum(map(Decimal, costs))) if costs else None,
        "currency": next((row.currency for row in attempts if row.cost is not None), None),
        "first_ms": [said.first_ms for said in player.said],
        "total_ms": [said.total_ms for said in player.said],
        "texts": [said.text for said in player.said],
        "errors": [said.error for said in player.said if said.error is not None],
    }


async def together(
    streams: Sequence[AsyncGenerator[Mapping[str, Any], None]], patience: float = TOGETHER
) -> AsyncGenerator[tuple[int, Mapping[str, Any]], None]:
    """Pieces of several streams as they come, by the stream's number; none before each has one, or the first has waited
    for so many seconds."""
    queue: asyncio.Queue[tuple[int, Mapping[str, Any] | None]] = asyncio.Queue(maxsize=1000)

    async def drain(number: int) -> None:
        try:
            async for piece in streams[number]:
                await queue.put((number, piece))
        finally:
            if (close := getattr(streams[number], "aclose", None)) is not None:
                await close()
            await queue.put((number, None))

    tasks = [asyncio.create_task(drain(number)) for number in range(len(streams))]
    loop, held, begun, ended = asyncio.get_running_loop(), [], set(), 0
    deadline: float | None = None
    released = False
    try:
        while ended < len(streams):
            timeout = None if released or deadline is None else max(0.0, deadline - loop.time())
            try:
                number, piece = await asyncio.wait_for(queue.get(), timeout)
            except TimeoutError:
                released = True
            else:
                begun.add(number)
                deadline = deadline or loop.time() + patience
                ended += piece is None
                released = released or len(begun) == len(streams)
                if piece is not None:
                    held.append((number, piece))
            if released:
                for one in held:
                    yield one
                held.clear()
        for one in held:
            yield one
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
