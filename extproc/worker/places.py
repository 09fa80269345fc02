"""Where workers listen, as the supervisor knows it: addresses or Unix sockets, one for each, reserved for life.

Rule: no gRPC; a supervisor that loads it could not start processes safely.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
import os
from pathlib import Path
import socket
import stat
from typing import Final

UNIX: Final = "unix:"
OWNER_ONLY: Final = 0o600
_LONGEST_PATH = 90
"""Bytes of a Unix socket's path: Linux has 107, less what workers append."""


@dataclass(frozen=True, slots=True)
class Address:
    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class UnixSocket:
    path: str

    def __str__(self) -> str:
        return f"{UNIX}{self.path}"


Place = Address | UnixSocket


@dataclass(frozen=True, slots=True)
class Tls:
    """PEM files: our certificate chain, its key, and the authority of the clients that may connect."""

    certificate: Path
    key: Path
    client_ca: Path


@dataclass(frozen=True, slots=True)
class Door:
    """How workers listen: the first one's place, with mutual TLS or without, and who may use a socket."""

    first: Place
    tls: Tls | None = None
    socket_mode: int = OWNER_ONLY


def places(first: Place, count: int) -> list[Place]:
    """One for each worker: consecutive ports, of which 0 leaves the choice to the system, or `PATH`, `PATH.1`, …"""
    if isinstance(first, Address):
        return [replace(first, port=first.port and first.port + index) for index in range(count)]
    return [first, *(UnixSocket(f"{first.path}.{index}") for index in range(1, count))]


@contextmanager
def reserved(place: Place) -> Iterator[Place]:
    """The place for ourselves, with its port where that is left to the system. Raises `OSError` with one line."""
    if isinstance(place, Address):
        with reserved_address(place) as address:
            yield address
    else:
        _make_way(place.path)
        try:
            yield place
        finally:
            with suppress(FileNotFoundError):
                os.unlink(place.path)


@contextmanager
def reserved_address(address: Address) -> Iterator[Address]:
    """A bound socket that never listens, so that only our workers share the port."""
    held = socket.socket(socket.AF_INET6 if ":" in address.host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind((address.host, address.port))
        # Afterwards: a stranger's port must not be shared, and ours with nobody but our user's SO_REUSEPORT sockets.
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    except OSError as error:
        held.close()
        make = f'; with make: ARGS="--listen {address.host}:{address.port + 1}"' if "MAKELEVEL" in os.environ else ""
        raise OSError(f"cannot listen on {address} (--listen): {error.strerror}{make}") from None
    with held:
        yield replace(address, port=held.getsockname()[1])


def _make_way(path: str) -> None:
    """Remove what an earlier process left behind, and only that. gRPC would also take a socket that is in use."""
    if not path.startswith("/") or len(os.fsencode(path)) > _LONGEST_PATH:
        raise OSError(f"cannot listen on {UNIX}{path}: wanted an absolute path of at most {_LONGEST_PATH} bytes")
    try:
        kind = os.lstat(path).st_mode
    except FileNotFoundError:
        if not os.path.isdir(os.path.dirname(path)):
            raise OSError(f"cannot listen on {UNIX}{path}: there is no directory {os.path.dirname(path)}") from None
        return
    if not stat.S_ISSOCK(kind):
        raise OSError(f"cannot listen on {UNIX}{path}: there is something that is not a socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
        else:
            raise OSError(f"cannot listen on {UNIX}{path}: it is in use")
