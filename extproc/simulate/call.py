"""One request as the vendors see it, and the answers they give: data in, data out.

Rule: no vendor form and no socket here. `Call` is what arrived, `Whole` or `Events` what goes back.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
import json
from typing import Any, NoReturn
import uuid

from extproc.simulate import characters
from extproc.simulate.faults import Faults, parse
from extproc.simulate.options import Options
from extproc.simulate.refusal import Refusal
from extproc.simulate.sse import Stream, dump

CREATED = 1_767_225_600
"""Every answer was made at this second: answers are deterministic."""


def type_of(vendor: str) -> str:
    """The type that providers have whose vendor is called `vendor` (str) here: str."""
    return "qwen" if vendor == "dashscope" else vendor


@dataclass(slots=True)
class StoredFile:
    """An uploaded file: what is kept of it, and how large it was."""

    id: str
    name: str
    purpose: str
    size: int
    content: bytes


@dataclass(slots=True)
class Store:
    """What the simulated vendors remember between requests."""

    files: dict[tuple[str, str], StoredFile] = field(default_factory=dict)
    batches: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)


@dataclass(slots=True)
class Call:
    """One request at one vendor. `path` is the whole path, decoded, `raw_path` as it came, `api` what follows the
    vendor's base."""

    vendor: str
    method: str
    path: str
    api: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    size: int
    options: Options
    store: Store
    types: Collection[str] = ()
    """What all simulated vendors are called in markers: as providers' types are."""
    raw_path: str = ""
    faults: Faults = field(default_factory=Faults)

    def heed(self, text: str) -> None:
        """Take the faults that `text` (str) asks for. ValueError: a marker or a vendor that does not exist."""
        self.faults = parse(text, type_of(self.vendor), self.types)

    def character(self, name: str, text: str) -> str | None:
        """What the character of the model called `name` (str) says to `text` (str), where it plays one: str or None."""
        return characters.speaks(name, text, self.body) if characters.keeps_secret(self.body) else None

    @property
    def request_id(self) -> str:
        """The vendor's id of this request, the same for the same request: str."""
        return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{self.path} {self.body[:65536]!r}"))

    def json(self) -> dict[str, Any]:
        """The body as a JSON object: dict. Anything else is a Refusal."""
        if not self.headers.get("content-type", "").lower().startswith("application/json"):
            raise Refusal(400, "content-type must be application/json", code="invalid_content_type")
        try:
            value = json.loads(self.body.decode(), parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            raise Refusal(400, f"We could not parse the JSON body of your request: {error}") from None
        if not isinstance(value, dict):
            raise Refusal(400, "the JSON body must be an object")
        return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


@dataclass(frozen=True, slots=True)
class Whole:
    """An answer in one piece."""

    status: int
    body: bytes
    media: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    gzip: bool = False


@dataclass(frozen=True, slots=True)
class Events:
    """An answer as server-sent events; `blank` False leaves out the empty lines between them."""

    stream: Stream
    media: str = "text/event-stream"
    headers: Mapping[str, str] = field(default_factory=dict)
    blank: bool = True


Answer = Whole | Events


def answer(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Whole:
    """`value` as a JSON answer: Whole."""
    return Whole(status, dump(value), headers=headers or {})
