"""The console: one page that shows what the gateway does, and the blind game. Served on the admin port.

Rule: reads what the house tells and sends chats through the gateway's own listener like any client; changes nothing
else. `Console` is the one door.

    guard    who may look: hosts, origins, sessions, headers
    hub      the last exchanges, asked of the workers while somebody looks
    well     is it well?;  use  what was used, by whom, and what is left
    chats    chats through the gateway: the playground's (`playground`) and the game's (`game`), by `ways` of each route
    naming   names by which a model gives itself away, and guesses;  elo, votes  what people thought
    lobby    the forms of these pages;  snippets  how tools are connected
    pages    the static files, which are the whole program in the browser
"""

from aiohttp import web

from extproc.console.api import Api
from extproc.console.guard import Guard, objection
from extproc.console.house import House
from extproc.console.lobby import Lobby
from extproc.console.pages import Pages
from extproc.worker.channel import Traced

__all__ = ["Console", "House", "objection"]


class Console:
    """The console of a house. It is there while the configuration has one."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._api = Api(house)
        self._lobby = Lobby(house)

    def mount(self, app: web.Application) -> None:
        """Add it to the admin port's application."""
        guard = Guard(self._house)
        app.middlewares.append(guard.middleware)
        app.cleanup_ctx.extend((self._api.living, self._lobby.living))
        app.add_routes([*guard.routes(), *self._api.routes(), *self._lobby.routes(), *Pages().routes()])

    def traced(self, traced: Traced) -> None:
        """A worker tells what an attempt of a chat of ours was made of."""
        self._lobby.traced(traced)
