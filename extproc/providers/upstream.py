"""What a provider says of the vendor: where it is, what it is sent, where a context text comes from. Frozen data."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import SecretStr

from extproc.terms.frozen import Frozen


@dataclass(frozen=True, slots=True)
class Upstream:
    """Where Envoy connects for a provider, and the name it uses there."""

    address: str
    port: int
    tls: bool
    authority: str
    sni: str


class Body(Frozen, frozen=True):
    """The vendor's body. `text` None: the client's goes unchanged. `dropped`: what of the client's could not be said to
    this vendor and is not missed in the answer: names of members, a tool as `tools.<name>`."""

    hidden = ("text",)

    text: bytes | None
    dropped: tuple[str, ...] = ()


class UpstreamRequest(Frozen, frozen=True):
    """The vendor's request. `body` None: the client's body goes unchanged. `remove`: further headers to drop.
    `dropped`: see `Body`."""

    hidden = ("headers", "body")

    path: str
    headers: Mapping[str, str]
    body: bytes | None = None
    remove: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ContextSource:
    """Where a provider's context text comes from.

    `url`: http(s) or file. `headers`: what the request carries. `field`: the member of a JSON answer that is the
    text, None where the body itself is. `refresh`, `timeout`: seconds. `ca_file`: PEM bundle, None for the system's.
    `server_name`: the name that the server's certificate must have, None for the URL's.
    """

    url: str
    refresh: float
    timeout: float
    max_bytes: int
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    field: str | None = None
    ca_file: str | None = None
    server_name: str | None = None


@dataclass(frozen=True, slots=True)
class TokenSource:
    """What a provider's bearer tokens are made from beside the exchanges. `key`: a Google service account's JSON.
    `scope`: what they are for."""

    key: SecretStr = field(repr=False)
    scope: str


def with_query(path: str, *queries: str) -> str:
    """`path?a&b` of the non-empty queries."""
    query = "&".join(filter(None, queries))
    return f"{path}?{query}" if query else path
