"""A row of the table of vendors: what the vendor is called, where it is, which keys it has, how it differs.

Rule: frozen data, checked when it is made. `quirks` is what a configuration can say anew; the rest is the row's alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from extproc.providers.blocks import Filled, is_plain
from extproc.providers.urls import parse_base_url
from extproc.providers.vendors.quirks import Quirks


def _host(value: str) -> str:
    if not value or not is_plain(value) or any(c in value for c in "/?#@"):
        raise ValueError("must be a host name such as api.example.com, with :PORT where it is another one")
    return value


def _base_url(value: str) -> str:
    if parse_base_url(value).query:
        raise ValueError("must be a base URL without a query")
    return value


def _part(value: str) -> str:
    if not re.fullmatch(r"[\w.-]+", value, re.ASCII) or value in (".", ".."):
        raise ValueError("must be a name of letters, digits and . _ -")
    return value


_KINDS: Mapping[str, Any] = {
    "host": Annotated[str, AfterValidator(_host)] | None,
    "url": Annotated[str, Filled, AfterValidator(_base_url)] | None,
    "port": Annotated[int, Field(ge=1, le=65535)] | None,
    "flag": bool,
    "part": Annotated[str, AfterValidator(_part)] | None,
    "unused": str | None,
    "refused": Any,
}


@dataclass(frozen=True, slots=True)
class Key:
    """A configuration key of the vendor's own, as Higress calls it.

    `kind`: `host` takes the place of the vendor's (its `url` says the scheme), `port` goes with it; `url` is a base URL
    instead of `url` and `prefix`; a `part` stands in paths as `{name}`; a `flag` that is set says `gives`, a `choice`
    what `gives` has for it; `refused` asks for something that is not served, in the words of `refused`; `unused` has no
    effect.
    `about`, `chinese`: what the key means, for the schema and the documents.
    """

    name: str
    kind: Literal["host", "url", "port", "flag", "part", "choice", "unused", "refused"]
    about: str
    chinese: str
    default: Any = None
    required: bool = False
    gives: Mapping[Any, Quirks] = field(default_factory=dict)
    refused: Mapping[Any, str] = field(default_factory=dict)

    @property
    def annotation(self) -> Any:
        """Its type, for pydantic."""
        if self.kind == "choice":
            return Literal[(*self.gives, *self.refused)]
        return _KINDS[self.kind]


@dataclass(frozen=True, slots=True)
class Row:
    """One vendor.

    `type`: what configurations call it, as Higress does. `title`: what people call it. `env`: the variables of its key,
    Higress' name first. `models`: how the names of its own models begin, by which requests find it where there is no
    configuration; empty for those who sell everybody's. `example`: a model of today. `own_server`: it is the user's, at
    an address of his.
    `sources`: where the facts are from, with the date.
    """

    type: str
    title: str
    env: tuple[str, ...]
    sources: tuple[str, ...]
    quirks: Quirks
    models: tuple[str, ...] = ()
    example: str = "gpt-4o-mini"
    own_server: bool = False
    keys: tuple[Key, ...] = ()

    def __post_init__(self) -> None:
        problems = []
        if not re.fullmatch(r"[a-z][a-z0-9-]*", self.type):
            problems.append("the type is lower case letters, digits and -")
        if not self.env or not all(re.fullmatch(r"[A-Z][A-Z0-9_]*_(API_KEY|TOKEN)", name) for name in self.env):
            problems.append("env are names of variables that end in _API_KEY")
        if not self.sources or not all(re.search(r"20\d\d-\d\d(-\d\d)?", source) for source in self.sources):
            problems.append("every row has sources, each with its date")
        if not self.quirks.url and not self.own_server:
            problems.append("a vendor has an address")
        parts = [f"{{{key.name}}}" for key in self.keys if key.kind == "part"]
        problems += [f"no path has {part}" for part in parts if not any(part in path for path in self._paths())]
        if problems:
            raise ValueError(f"row {self.type}: {'; '.join(problems)}")

    def _paths(self) -> list[str]:
        return [self.quirks.prefix, *(self.quirks.apis or {}).values()]
