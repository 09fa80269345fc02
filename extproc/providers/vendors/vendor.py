"""A vendor of the table: one class for all rows.

Rule: what a vendor does is said by its row and the configuration's `quirks`, which say it anew for one provider; here
is only where each is applied. A vendor that needs nothing is a pass-through whose bytes never leave Envoy.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import ConfigDict, create_model, model_validator

from extproc.providers.base import Provider, UpstreamRequest, with_query
from extproc.providers.openai_chat import ChatReader
from extproc.providers.passthrough import PassThrough
from extproc.providers.reader import Reader
from extproc.providers.traits import LEVELS, Traits
from extproc.providers.translator import Translator
from extproc.providers.urls import parse_base_url
from extproc.providers.vendors import failures
from extproc.providers.vendors.chunks import Chunks, reads
from extproc.providers.vendors.members import Members
from extproc.providers.vendors.quirks import Quirks
from extproc.providers.vendors.row import Key, Row
from extproc.providers.vendors.table import ROWS
from extproc.terms.call import CHAT, JSON_APIS, MESSAGES, RESPONSES, Call
from extproc.terms.deltas import Delta
from extproc.terms.errors import UnsupportedApi, UpstreamError
from extproc.terms.frozen import replace
from extproc.text import jsontext, sse
from extproc.text.jsontext import Fields, NotJson
from extproc.text.patterns import NamePatterns

_HEADERS = {"x-api-key": "x-api-key", "api-key": "api-key", "x-goog-api-key": "x-goog-api-key"}
_OWN_KEYS = ("x-api-key", "api-key")


class _Vendor(Provider):
    """`quirks`: how this provider differs from its row."""

    model_config = ConfigDict(defer_build=True)

    tokens_required: ClassVar[bool] = False  # the row says it
    knows_developer: ClassVar[bool] = True  # likewise

    quirks: Quirks = Quirks()

    @model_validator(mode="after")
    def _fits_its_row(self) -> Self:
        given = {key.name: value for key in KEYS.values() if (value := self._given(key)) is not None}
        own = {key.name: key for key in self.row.keys}
        for name, value in given.items():
            if name not in own and value is not False:
                raise ValueError(
                    f"{name} is a key of type {VENDOR_KEYS[name]}, but this provider is of type {self.type}"
                )
        for key in self.row.keys:
            if key.required and given.get(key.name) is None:
                raise ValueError(f"{key.name} is missing: type {self.type} has no address without it")
            if (value := given.get(key.name)) is not None and (why := _refused(key, value)):
                raise ValueError(f"{key.name}: {why}")
        said = self._said  # contradictions are found here
        if not said.url and self.endpoint is None and self._own_address is None:
            ways = [key.name for key in self.row.keys if key.kind in ("host", "url")]
            raise ValueError(f"has no address: say {' or '.join([*ways, 'endpoint'])}")
        if said.key == "required" and said.auth != "none" and not self.tokens:
            raise ValueError(f"apiTokens is missing: type {self.type} needs at least one key")
        return self

    # What it is

    @property
    def row(self) -> Row:
        return ROWS[self.type]

    def _given(self, key: Key) -> Any:
        """What the configuration says for a key of the vendor's own; None where it does not."""
        value = getattr(self, key.name)
        return value if key.name in self.model_fields_set or value != key.default else None

    def _value(self, kind: str) -> Any:
        """The value of the vendor's own key of a kind, its default included; None without such a key."""
        return next((getattr(self, key.name) for key in self.row.keys if key.kind == kind), None)

    @cached_property
    def _said(self) -> Quirks:
        """The row, what its own keys add, and what the configuration says anew."""
        quirks = self.row.quirks
        for key in self.row.keys:
            if key.gives and (more := key.gives.get(getattr(self, key.name))) is not None:
                quirks = more.over(quirks)
        return self.quirks.over(quirks) if self.quirks.model_fields_set else quirks

    @cached_property
    def _families(self) -> tuple[tuple[NamePatterns, Quirks], ...]:
        return tuple((NamePatterns([pattern]), own.over(self._said)) for pattern, own in self._said.by_model.items())

    @cached_property
    def _plans(self) -> tuple[tuple[Members, Quirks, Traits], ...]:
        """What is done for each family of models, and at last for the others."""
        every = (*(quirks for _, quirks in self._families), self._said)
        return tuple((Members(quirks), quirks, traits_of(quirks)) for quirks in every)

    def _plan(self, model: str | None) -> tuple[Members, Quirks, Traits]:
        for place, (patterns, _) in enumerate(self._families):
            if model is not None and model in patterns:
                return self._plans[place]
        return self._plans[-1]

    # Where it is

    @cached_property
    def _own_address(self) -> tuple[str, str | None] | None:
        """Origin and base path that the vendor's own keys say; the path is None where they do not."""
        if (url := self._value("url")) is not None:
            base = parse_base_url(url)
            return base.origin, base.base or None
        host, port = self._value("host"), self._value("port")
        if host is None:
            return None
        scheme = self._said.url[0].partition(":")[0] if self._said.url else "https"
        return f"{scheme}://{host}{f':{port}' if port and ':' not in host else ''}", None

    @cached_property
    def vendor_url(self) -> str:
        if self._own_address is not None:
            return self._own_address[0]
        if self.row.own_server and self.endpoint is not None:
            return self.endpoint
        return self._said.url[0] if self._said.url else self.endpoint or ""

    @cached_property
    def _prefix(self) -> str:
        base = self._own_address[1] if self._own_address is not None else None
        return self._filled(self._said.prefix if base is None else base)

    @cached_property
    def _paths(self) -> Mapping[str, str] | None:
        """The first step of each API that there is → its path; None: every API, under the prefix."""
        if self._said.apis is None:
            return None
        steps = {name: path or f"{self._prefix}/{_FULL.get(name, name)}" for name, path in self._said.apis.items()}
        return {name: self._filled(path) for name, path in steps.items()}

    def _filled(self, path: str) -> str:
        for key in self.row.keys:
            if key.kind == "part":
                path = path.replace(f"{{{key.name}}}", str(getattr(self, key.name)))
        return path

    def path(self, call: Call) -> str:
        if call.api is None:
            raise UnsupportedApi(f"{self.type} has no API at this path")
        if self._paths is None:
            return with_query(f"{self._prefix}/{call.api}", call.target.query)
        root = call.target.root
        full = _FULL.get(root, root)
        if root not in self._paths or not f"{call.api}/".startswith(f"{full}/"):
            raise UnsupportedApi(
                f"{self.type} has no such API here; it has {', '.join(_FULL.get(r, r) for r in self._paths)}"
            )
        return with_query(self._paths[root] + call.api.removeprefix(full), call.target.query)

    @property
    def original_prefixes(self) -> tuple[str, ...]:
        return (f"{self._prefix}/", *(path for path in (self._paths or {}).values()))

    # The request

    def credentials(self, call: Call) -> Mapping[str, str]:
        auth = self._said.auth
        if auth == "none":
            return {}
        if call.token is None:  # no key of ours: the client's own goes through
            own = next((call.headers[h] for h in _OWN_KEYS if h in call.headers), None)
            return {"authorization": f"Bearer {own}"} if own and not call.headers.get("authorization") else {}
        if call.api == MESSAGES:
            auth = self._said.messages_auth
        if auth == "plain":
            return {"authorization": call.token}
        header = _HEADERS.get(auth)
        return {header: call.token} if header else {"authorization": f"Bearer {call.token}"}

    def request(self, call: Call) -> UpstreamRequest:
        plain = super().request(call)
        if self._said.auth != "none":
            return plain
        return replace(plain, remove=(*plain.remove, "authorization", *_OWN_KEYS))

    def edit(self, fields: Fields, call: Call) -> tuple[str, ...]:
        return self._plan(call.upstream_model)[0].repair(fields, call.api, stream=call.stream)

    def takes_stream_options(self, call: Call) -> bool:
        quirks = self._plan(call.upstream_model)[1]
        return "stream_options" not in quirks.refuses and not quirks.usage.at

    # The answer

    def translator(self, call: Call) -> Translator | None:
        quirks = self._plan(call.upstream_model)[1]
        if self.protocol == "original" or call.body is None or call.api not in JSON_APIS or not reads(quirks):
            return super().translator(call)
        return Repaired(call, restore=self.restores_model(call), quirks=quirks, hides=self.asks_usage(call))

    @cached_property
    def has(self) -> frozenset[str]:
        has = FRONTS if self._said.apis is None else FRONTS & self._said.apis.keys()
        return frozenset({"chat"}) | has

    @property
    def passes(self) -> frozenset[str]:
        """Older servers of one's own lack what their newest version has: there the configuration says so."""
        if not self.row.own_server:
            return self.has
        return frozenset({"chat", *(FRONTS & (self.quirks.apis or {}).keys())})

    def traits(self, model: str) -> Traits:
        return self._plan(model)[2]

    def reader(self, call: Call) -> Reader:
        quirks = self._plan(call.upstream_model)[1]
        return RepairedReader(quirks) if reads(quirks) else super().reader(call)

    def error(self, status: int, body: bytes) -> UpstreamError:
        return failures.refusal(status, body, self._said.errors)

    @property
    def example_model(self) -> str:
        return self.row.example


class Repaired(PassThrough):
    """A pass-through whose answers are put right."""

    def __init__(self, call: Call, *, restore: bool, quirks: Quirks, hides: bool) -> None:
        chunks = Chunks(quirks)
        if call.api == CHAT:
            super().__init__(call, restore=restore, edit=chunks.chunk, whole=chunks.whole, hides=hides)
        else:
            super().__init__(call, restore=restore, edit=chunks.judge, whole=chunks.judge, hides=hides)
        self._chunks = chunks
        self._waits = quirks.usage.after_done
        self._done: list[bytes] = []

    def event(self, event: sse.Event) -> Iterable[bytes]:
        if not event.is_done:
            return super().event(event)
        last = list(super().event(_event(data))) if (data := self._chunks.unfinished()) else []
        if not self._waits:
            return (*last, *super().event(event))
        self._done = [*last, *super().event(event)]
        return ()

    def close(self) -> Iterable[bytes]:
        return (*super().close(), *self._done)


class RepairedReader(ChatReader):
    """A reader of chat answers that are put right before they are read."""

    def __init__(self, quirks: Quirks) -> None:
        super().__init__(lambda event: None)
        self._chunks = Chunks(quirks)
        self.done_ends = not quirks.usage.after_done

    def body(self, body: bytes) -> list[Delta]:
        return super().body(_changed(body, self._chunks.whole))

    def event(self, event: sse.Event) -> list[Delta]:
        return super().event(sse.Event(_changed(event.data, self._chunks.chunk), event.name, event.comments, event.raw))

    def close(self) -> list[Delta]:
        data = self._chunks.unfinished() if self.saw_done else b""
        return super().event(_event(data)) if data else []


def _event(data: bytes) -> sse.Event:
    """An event of ours, as if the vendor had sent it."""
    return sse.Event(data, b"", (), b"data: " + data + b"\n\n")


def _changed(data: bytes, change: Callable[[Fields], bool]) -> bytes:
    """JSON put right; what is no object stays for whoever reads it to refuse."""
    try:
        fields = jsontext.fields(data)
    except NotJson:
        return data
    return jsontext.dump(fields) if change(fields) else data


def traits_of(quirks: Quirks) -> Traits:
    """What fronts read by, of what a vendor's quirks say."""
    asked, takes, refused = quirks.thinking.ask, quirks.takes, {*quirks.refuses, *quirks.tool_choice}
    most = quirks.clamps.get(quirks.renames.get("max_tokens", "max_tokens"))
    return Traits(
        files="file" in takes,
        cache_control=quirks.cache_control == "kept",
        thinking=quirks.returns_thinking or "dropped",
        system_first=bool({"system", "later-system"} & set(quirks.roles)),
        required="required" not in refused,
        strict="strict" in takes,
        verbosity="verbosity" in takes,
        top_k="top_k" in takes,
        user="user" not in refused,
        asks="type" if "thinking" in asked else "switch" if "enable_thinking" in asked else "effort" if asked else "",
        efforts=LEVELS,  # the row has its own words for them
        output=None if most is None or most.max is None else int(most.max),
    )


FRONTS = frozenset({MESSAGES, RESPONSES})
"""What clients speak beside chat, and some vendors too."""

_FULL = {"chat": CHAT}
"""APIs whose path is longer than their name."""


def refused(type: str, block: Mapping[str, Any]) -> tuple[str, str] | None:
    """The key of a configuration's block that asks for what is not served, and why; None without one."""
    for key in ROWS[type].keys if type in ROWS else ():
        value = block.get(key.name)
        if isinstance(value, int | float | str) and value != "" and (why := _refused(key, value)):
            return key.name, why
    return None


def _refused(key: Key, value: Any) -> str | None:
    if key.kind == "refused":
        return key.refused[None]
    return key.refused.get(value) if key.kind == "choice" else None


def _keys(rows: Iterable[Row]) -> dict[str, Key]:
    found: dict[str, Key] = {}
    for row in rows:
        for key in row.keys:
            if found.setdefault(key.name, key) != key:
                raise ValueError(f"row {row.type}: {key.name} means something else in another row")
    return found


KEYS = _keys(ROWS.values())
VENDOR_KEYS = {key.name: row.type for row in ROWS.values() for key in row.keys}

if TYPE_CHECKING:
    Vendor = _Vendor
else:
    _FIELDS = {key.name: (key.annotation, key.default) for key in KEYS.values()}
    Vendor = create_model("Vendor", __base__=_Vendor, type=(Literal[tuple(ROWS)], ...), **_FIELDS)
