"""Whether vendors can be reached: the name, the connection, the certificate.

Rule: as Envoy connects (IPv4 before IPv6, the same bundle of authorities, the same name), and no further: nothing is
sent but a TLS handshake, no key, no HTTP. What is found is said and changes nothing.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
import os
import socket
import ssl
from typing import Final

import structlog

from extproc.providers import Provider
from extproc.supervisor.aside import aside

log = structlog.get_logger("extproc.reach")

PATIENCE: Final = 5.0
"""Seconds for one vendor, from its name to its certificate."""
_AT_A_TIME: Final = 64


@dataclass(frozen=True, slots=True)
class Place:
    """Where a vendor is. `name`: what its certificate must be for, None without TLS; `ca_file`: who may sign it."""

    host: str
    port: int
    name: str | None
    ca_file: str

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Found:
    """What a provider's vendor gave: `reason` None if it can be reached, else why not. `ends`: its certificate, seconds
    since 1970."""

    provider: str
    place: Place
    reason: str | None
    ends: float | None = None

    def __str__(self) -> str:
        return f"{self.provider}: {self.place}: {self.reason or 'ok'}"


def place_of(provider: Provider, ca_file: str) -> Place:
    """Where Envoy connects for a provider; `ca_file`: the authorities of providers without their own."""
    upstream = provider.upstream
    name = upstream.sni if upstream.tls else None
    return Place(upstream.address, upstream.port, name, provider.tls.ca_file or ca_file)


async def found(providers: Sequence[Provider], ca_file: str, patience: float = PATIENCE) -> list[Found]:
    """What each provider's vendor gives, all tried at once, each place once and for at most `patience` seconds."""
    places = {provider.id: place_of(provider, ca_file) for provider in providers}
    room = asyncio.Semaphore(_AT_A_TIME)

    async def tried(place: Place) -> tuple[Place, tuple[str | None, float | None]]:
        async with room:
            attempt = _Attempt(place)
            return place, (await _failure(attempt, patience), attempt.ends)

    known = dict(await asyncio.gather(*map(tried, set(places.values()))))
    return [Found(provider, place, *known[place]) for provider, place in places.items()]


async def warn(providers: Sequence[Provider], ca_file: str) -> None:
    """A line in the log for each provider whose vendor cannot be reached."""
    for each in await found(providers, ca_file):
        if each.reason is not None:
            place = str(each.place)
            log.warning("a vendor cannot be reached", provider=each.provider, host=place, reason=each.reason)


async def failure(place: Place, patience: float = PATIENCE) -> str | None:
    """Why a place cannot be reached, in a few words; None if it can."""
    return await _failure(_Attempt(place), patience)


async def _failure(attempt: "_Attempt", patience: float) -> str | None:
    try:
        async with asyncio.timeout(patience):
            await attempt.made()
    except TimeoutError:  # ours, or the system's own
        return f"timeout: {attempt.missing} within {patience:g} s"
    except ssl.SSLCertVerificationError as error:
        return f"certificate: {error.verify_message}"
    except ssl.SSLError as error:
        return f"TLS: {(error.reason or 'failed').replace('_', ' ').lower()}"
    except socket.gaierror as error:
        return f"DNS: {error.strerror}"
    except UnicodeError:
        return "DNS: not a name that can be looked up"
    except ConnectionRefusedError:
        return "refused"
    except OSError as error:
        # A connection that ends in the handshake has no number in asyncio.
        said = os.strerror(error.errno) if error.errno else "the connection was closed"
        return f"{attempt.step}: {said}"
    return None


class _Attempt:
    """`step`: what is being tried; `missing`: what has not come yet; `ends`: the certificate that came."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self.ends: float | None = None
        self.step, self.missing = "DNS", "no address of this name"

    async def made(self) -> None:
        place = self._place
        # In a thread that nobody waits for: a resolver may take longer than anybody's patience.
        known = await aside(lambda: socket.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM), PATIENCE)
        family, kind, protocol, _, address = min(known, key=lambda one: one[0] != socket.AF_INET)
        self.step, self.missing = "TCP", "no connection"
        loop = asyncio.get_running_loop()
        with socket.socket(family, kind, protocol) as connection:
            connection.setblocking(False)
            await loop.sock_connect(connection, address)
            if place.name is None:
                return
            self.step = f"CA file {place.ca_file}"
            context = _trust(place.ca_file)
            self.step, self.missing = "TLS", "no handshake"
            transport, _ = await loop.create_connection(
                asyncio.Protocol, sock=connection, ssl=context, server_hostname=place.name
            )
            shown = transport.get_extra_info("peercert") or {}
            self.ends = ssl.cert_time_to_seconds(shown["notAfter"]) if "notAfter" in shown else None
            transport.abort()


@cache
def _trust(ca_file: str) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=ca_file)
    context.set_alpn_protocols(["http/1.1"])
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # Python asks for more than Envoy since 3.13
    return context
