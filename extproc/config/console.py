"""Who may look at the console, and under which names it is reached.

Rule: pure. Of passwords and tokens only the SHA-256 is kept, as of clients' keys (`clients.KeyHash`).
"""

from collections.abc import Sequence
import hmac
import ipaddress
import re
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, Field

from extproc.config.clients import KeyHash, Keys
from extproc.providers.blocks import Block, origin_url

_HEADER = re.compile(r"[a-z0-9-]{1,100}")
_NAME = re.compile(r"[\w.@+-]{1,100}")
_HOST = re.compile(r"[a-z0-9._-]{1,253}|[0-9a-f:.]{2,45}")

LOOPBACK: Final = ("127.0.0.0/8", "::1/128")


def _header(value: str) -> str:
    name = value.lower()
    if not _HEADER.fullmatch(name):
        raise ValueError("must be the name of a header")
    return name


def _networks(values: Sequence[str]) -> tuple[str, ...]:
    for value in values:
        ipaddress.ip_network(value)  # its words say what is wrong
    return tuple(values)


def _hosts(values: Sequence[str]) -> tuple[str, ...]:
    lowered = tuple(value.lower().strip("[]") for value in values)
    for value in lowered:
        if not _HOST.fullmatch(value):
            raise ValueError(f"{value!r} is not a host name without port")
    return lowered


def _names(users: dict[str, Any]) -> dict[str, Any]:
    for name in users:
        if not _NAME.fullmatch(name):
            raise ValueError("a user's name may have letters, digits and . _ @ + - only, at most 100")
    return users


class Console(Block):
    """The console on the admin port. `users`: name → password. `token`: what opens it without a name. `oidcHeader`: the
    header in which a proxy says who has logged in there; `proxies`: from which addresses that is believed. `hosts`: the
    names under which a browser may reach it, beside those of this machine. `gateway`: where the gateway's own listener
    is, for chats that are sent from here."""

    users: Annotated[dict[str, Keys], AfterValidator(_names)] = {}
    token: Keys = ()
    oidc_header: Annotated[str, AfterValidator(_header)] | None = None
    proxies: Annotated[tuple[str, ...], AfterValidator(_networks)] = LOOPBACK
    hosts: Annotated[tuple[str, ...], AfterValidator(_hosts)] = ()
    gateway: Annotated[str, AfterValidator(origin_url)] | None = None

    @property
    def guarded(self) -> bool:
        """Whether somebody must show who they are."""
        return bool(self.users or self.token or self.oidc_header)

    def user(self, name: str, password: str) -> KeyHash | None:
        """The password of a user as it is kept, if it is that."""
        return _same(self.users.get(name, ()), password)

    def opened_by(self, token: str) -> KeyHash | None:
        """The token as it is kept, if it is one."""
        return _same(self.token, token)

    def knows(self, kept: KeyHash) -> bool:
        """Whether what opened a session is still a user's password or the token."""
        return any(kept in keys for keys in (self.token, *self.users.values()))


def _same(keys: Sequence[KeyHash], shown: str) -> KeyHash | None:
    digest = KeyHash.of(shown).digest
    found = None
    for key in keys:
        if hmac.compare_digest(key.digest, digest):
            found = key
    return found


def _switch(value: Any) -> Any:
    """`true` is a console with its defaults, `false` none."""
    return {True: {}, False: None}[value] if isinstance(value, bool) else value


MaybeConsole = Annotated[
    Console | None, BeforeValidator(_switch, json_schema_input_type=Console | bool | None), Field()
]
