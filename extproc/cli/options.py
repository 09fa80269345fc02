"""The options that several commands take, and how their text becomes addresses, places and modes.

Rule: words in, values out; nothing here knows what a command does.
"""

from collections.abc import Callable
from pathlib import Path
import socket
from typing import Any, TypeVar, get_args

import click

from extproc.config.load import StandIn
from extproc.envoy.placement import Placement
from extproc.providers.blocks import origin_url
from extproc.supervisor import run
from extproc.supervisor.run import Address
from extproc.worker.places import UNIX, Place, UnixSocket

F = TypeVar("F", bound=Callable[..., Any])

ACCESS_LOG = "File for Envoy's access log, such as /dev/stdout"


class AddressType(click.ParamType[Address]):
    """`HOST:PORT`. `listens`: it is an address of this machine, so a name is resolved."""

    name = "HOST:PORT"

    def __init__(self, *, listens: bool) -> None:
        self._listens = listens

    def convert(self, value: str | Address, param: click.Parameter | None, ctx: click.Context | None) -> Address:
        if isinstance(value, Address):
            return value
        host, _, port = value.rpartition(":")
        if not port.isdecimal() or int(port) > 65535:
            self.fail(f"{value!r} is not HOST:PORT", param, ctx)
        host = host.strip("[]") or "127.0.0.1"
        if not self._listens:
            return Address(host, int(port))
        try:  # Envoy listens on addresses only
            return Address(str(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0][4][0]), int(port))
        except OSError:
            self.fail(f"{host!r} is neither an address nor a name that resolves to one", param, ctx)


class PlaceType(click.ParamType[Place]):
    """`HOST:PORT` or `unix:PATH`."""

    name = "HOST:PORT|unix:PATH"

    def __init__(self, *, listens: bool) -> None:
        self._address = AddressType(listens=listens)

    def convert(self, value: str | Place, param: click.Parameter | None, ctx: click.Context | None) -> Place:
        if isinstance(value, UnixSocket):
            return value
        if not isinstance(value, str) or not value.startswith(UNIX):
            return self._address.convert(value, param, ctx)
        if not value.startswith(f"{UNIX}/"):
            self.fail(f"{value!r} is not unix: and an absolute path", param, ctx)
        return UnixSocket(f"/{value.removeprefix(UNIX).lstrip('/')}")  # unix:///path is another way to write it


class ModeType(click.ParamType[int]):
    """A Unix socket's mode, in octal."""

    name = "MODE"

    def convert(self, value: str | int, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        try:
            mode = int(value, 8)
        except ValueError:
            mode = -1
        if not 0 <= mode <= 0o777:
            self.fail(f"{value!r} is not a file mode such as 600 or 660", param, ctx)
        return mode


def _stands_in(_ctx: click.Context, _param: click.Parameter, url: str | None) -> StandIn | None:
    try:
        return None if url is None else StandIn(origin_url(url), run.SIMULATED_KEY)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


def shown(*names: str, default: object, help: str | None = None, **more: Any) -> Callable[[F], F]:
    """An option whose default is part of its help."""
    return click.option(*names, default=default, show_default=True, help=help, **more)


def address(flag: str, default: str, help: str) -> Callable[[F], F]:
    """Where a part of this listens."""
    return shown(flag, type=AddressType(listens=True), default=default, help=help)


def sidecar(default: str, form: str) -> Callable[[F], F]:
    """Where Envoy finds the sidecar."""
    words = "the sidecar's first worker, the others are beside it; or, several times, of each."
    place = PlaceType(listens=False)
    return shown("--sidecar", type=place, multiple=True, default=[default], help=f"{form} of {words}")


config_file = click.option(
    "--config", "path", type=click.Path(path_type=Path),
    help="Configuration file: this project's YAML or Higress WasmPlugin documents. Without it the environment counts.",
)  # fmt: skip
admin = address("--admin", "127.0.0.1:8081", "/healthz, /readyz, /version, /config, /metrics, /console.")
metrics = click.option(
    "--metrics", type=AddressType(listens=True), help="/metrics alone, for whoever may not reach the admin port."
)
admin_at = shown(
    "--admin", type=AddressType(listens=False), default="127.0.0.1:8081", help="The running gateway's --admin."
)
workers = click.option(
    "--workers", type=click.IntRange(1, 256), help="Worker processes; by default what the configuration says."
)
no_console = click.option("--no-console", is_flag=True, help="No console on the admin port, whatever is configured.")
stand_in = click.option(
    "--stand-in", metavar="URL", callback=_stands_in,
    help="Where simulated vendors (`extproc simulate`) stand in for every service without a key.",
)  # fmt: skip
placement = shown(
    "--placement", type=click.Choice(get_args(Placement)), default="upstream",
    help="Where Envoy has the filter: in the providers' clusters (fallback, retries), or before the routes.",
)  # fmt: skip
_log_format = shown("--log-format", type=click.Choice(["console", "json"]), default="console")
_log_level = shown("--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info")
_verbose = click.option(
    "-v", "--verbose", is_flag=True, help="Lines for people have the ids of every exchange, not only of failed ones."
)
_grace = shown(
    "--drain-seconds", "grace", type=click.FloatRange(min=0), default=run.DRAIN_SECONDS,
    help="How long open exchanges may finish after a stop was asked for.",
)  # fmt: skip


def serving(command: F) -> F:
    """The options of a command that stays: how it logs, and how it stops."""
    return _log_format(_log_level(_verbose(_grace(command))))
