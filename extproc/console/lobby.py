"""The answers of the pages that send chats: set up, the playground and the game.

Rule: forms are checked here; what is made of them is in files of their own. Of the game nothing leaves here that names
anybody before the reveal.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from dataclasses import asdict
from typing import Any, Final, Literal, TypeVar

from aiohttp import web
import msgspec

from extproc.console.chats import Chats, NoGateway
from extproc.console.game import LONGEST, Games, Kind, Unplayable, Verdict, label
from extproc.console.guard import read
from extproc.console.house import House
from extproc.console.playground import MOST, Asked, play
from extproc.console.sending import answer, stream
from extproc.console.snippets import snippets
from extproc.console.votes import Votes
from extproc.console.ways import Way, ways
from extproc.worker.channel import Traced

T = TypeVar("T")
_FORM: Final = 64 << 10


class Start(msgspec.Struct):
    kind: Kind
    language: Literal["en", "zh"]
    chosen: list[tuple[str, str]] = []
    key: str = ""


class Ask(msgspec.Struct):
    game: str
    text: str = ""


class Vote(msgspec.Struct):
    game: str
    verdict: Verdict


class Guess(msgspec.Struct):
    game: str
    guess: list[str] = []


class Lobby:
    def __init__(self, house: House) -> None:
        self._house = house
        self._chats = Chats(house)
        self._games = Games(self._chats)
        self._votes = Votes(house.votes)

    async def living(self, app: web.Application) -> AsyncIterator[None]:
        yield
        await self._chats.close()
        self._votes.close()

    def traced(self, traced: Traced) -> None:
        self._chats.traced(traced)

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/console/api/setup", self._setup),
            web.get("/console/api/ways", self._ways),
            web.post("/console/api/play", self._play),
            web.get("/console/api/game", self._table),
            web.post("/console/api/game/start", self._start),
            web.post("/console/api/game/ask", self._ask),
            web.post("/console/api/game/talk", self._talk),
            web.post("/console/api/game/vote", self._vote),
            web.post("/console/api/game/reveal", self._reveal),
            web.post("/console/api/game/clear", self._clear),
            web.get("/console/api/game/export", self._export),
        ]

    def _known(self) -> dict[str, Way]:
        return ways(self._house.config)

    async def _setup(self, request: web.Request) -> web.Response:
        known, config = self._known(), self._house.config
        wanted = request.query.get("route") or next(reversed(known), "")
        way = known.get(wanted)
        base = (self._house.base or "http://GATEWAY:8080") + (way.prefix if way else "")
        models = way.models if way else ()
        model = request.query.get("model", "")
        model = model if model in models else next(iter(models), "MODEL")
        found = [asdict(snippet) for snippet in snippets(base, model)]
        return answer(
            {"base": base, "routes": list(known), "route": wanted, "models": models, "model": model,
             "clients": bool(config.clients), "known": self._house.base is not None, "snippets": found}
        )  # fmt: skip

    async def _ways(self, _: web.Request) -> web.Response:
        found = [{"route": w.route, "providers": w.providers, "models": w.models} for w in self._known().values()]
        return answer({"ways": found, "clients": bool(self._house.config.clients), "base": self._house.base})

    async def _play(self, request: web.Request) -> web.StreamResponse:
        asked = await read(request, Asked, MOST)
        way = self._known().get(asked.route)
        if way is None or not asked.model or not _is_key(asked.key):
            raise web.HTTPBadRequest(reason="no such route, no model, or a key that is none")
        self._reachable(way)
        return await stream(request, play(self._chats, way, asked))

    def _reachable(self, way: Way | None) -> None:
        try:
            if way is not None:
                self._chats.url(way)
        except NoGateway as error:
            raise web.HTTPConflict(reason=str(error)) from None

    async def _start(self, request: web.Request) -> web.Response:
        form = await read(request, Start, _FORM)
        known = self._known()
        self._reachable(next(iter(known.values()), None))
        if not _is_key(form.key):
            raise web.HTTPBadRequest(reason="a key that is none")
        try:
            name = self._games.start(self._house.config, known, form.kind, form.language, form.key, form.chosen)
        except Unplayable as error:
            raise web.HTTPConflict(reason=str(error)) from None
        return answer({"game": name})

    async def _ask(self, request: web.Request) -> web.StreamResponse:
        form = await read(request, Ask, _FORM)
        if not form.text.strip() or len(form.text) > LONGEST:
            raise web.HTTPBadRequest(reason="a question of at most 4000 characters")
        return await self._played(request, form.game, lambda game: self._games.ask(game, form.text))

    async def _talk(self, request: web.Request) -> web.StreamResponse:
        form = await read(request, Ask, _FORM)
        return await self._played(request, form.game, self._games.talk)

    async def _played(self, request: web.Request, name: str, begin: Any) -> web.StreamResponse:
        try:
            pieces = begin(self._games.get(name))
            first = await anext(pieces)  # what cannot be played says so before the answer's head is out
        except Unplayable as error:
            raise web.HTTPConflict(reason=str(error)) from None

        async def all_of_it() -> AsyncIterator[Mapping[str, Any]]:
            async with aclosing(pieces):
                yield first
                async for piece in pieces:
                    yield piece

        return await stream(request, all_of_it())

    async def _vote(self, request: web.Request) -> web.Response:
        form = await read(request, Vote, _FORM)
        try:
            game = self._games.get(form.game)
        except Unplayable as error:
            raise web.HTTPConflict(reason=str(error)) from None
        if game.over or not game.rounds:
            raise web.HTTPConflict(reason="not now")
        game.verdict = form.verdict
        return answer({})

    async def _reveal(self, request: web.Request) -> web.Response:
        form = await read(request, Guess, _FORM)
        try:
            game = self._games.get(form.game)
        except Unplayable as error:
            raise web.HTTPConflict(reason=str(error)) from None
        if game.busy or not game.rounds:
            raise web.HTTPConflict(reason="not now")
        first, told = not game.over, self._games.reveal(game, form.guess)
        if first:
            self._votes.add(game.kind, (label(game.players[0]), label(game.players[1])), game.verdict, told["guessed"])
        return answer({**told, **self._votes.table()})

    async def _table(self, _: web.Request) -> web.Response:
        """Before a game names would be a help: only how many there are."""
        table = self._votes.table()
        return answer({name: table[name] for name in ("games", "guesses", "right", "votes")})

    async def _clear(self, request: web.Request) -> web.Response:
        await read(request, dict, _FORM)
        self._votes.clear()
        return answer({})

    async def _export(self, _: web.Request) -> web.Response:
        said = answer({**self._votes.table(), "all": self._votes.games()})
        said.headers["Content-Disposition"] = 'attachment; filename="games.json"'
        return said


def _is_key(key: str) -> bool:
    return len(key) < 4096 and key.isascii() and (key == "" or key.isprintable())
