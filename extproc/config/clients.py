"""Who may come in: the clients of the configuration, the keys they show, and what each of them may use.

Rule: pure. Of a key only its SHA-256 is kept, and what a request shows is compared in constant time with every key
there is, so that neither memory nor time tells one. What cannot be checked is refused: a client that is limited to
some models sends no body in which nobody looked for a model.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
import hashlib
import hmac
import re
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, model_validator

from extproc.config.quotas import Limit
from extproc.providers.blocks import Block, Patterns, tokens
from extproc.terms.call import Target
from extproc.terms.errors import InvalidApiKey, ModelNotAllowed
from extproc.text.jsontext import Fields
from extproc.text.patterns import NamePatterns

CREDENTIALS: Final = ("authorization", "x-api-key", "api-key")
"""The headers in which a client shows its key, as `Bearer KEY` in the first."""

_LONGEST_KEY = 4096
"""Characters that are looked at of what a request shows: who has no key is to cost little. Keys are shorter."""

_HASHED = "sha256:"
_HASH = re.compile(r"sha256:[0-9a-fA-F]{64}")


@dataclass(frozen=True, slots=True)
class KeyHash:
    """A client's key as its SHA-256, which is never printed either."""

    digest: bytes = field(repr=False)

    @classmethod
    def of(cls, key: str) -> "KeyHash":
        return cls(hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest())

    @classmethod
    def read(cls, text: str) -> "KeyHash":
        """A key as it stands in a file: the key itself or `sha256:` and 64 hexadecimal digits."""
        if len(text) >= _LONGEST_KEY:
            raise ValueError(f"a key must be shorter than {_LONGEST_KEY} characters")
        if not text.startswith(_HASHED):
            return cls.of(text)
        if not _HASH.fullmatch(text):
            raise ValueError("sha256: must be followed by the 64 hexadecimal digits of a key's SHA-256")
        return cls(bytes.fromhex(text.removeprefix(_HASHED)))

    @property
    def hint(self) -> str:
        """Enough to tell keys apart, far too little to try guesses against."""
        return f"{_HASHED}{self.digest.hex()[:4]}…"


_EMPTY = KeyHash.of("")


def _hashes(entries: Any, info: ValidationInfo) -> tuple[KeyHash, ...]:
    found = tuple(dict.fromkeys(map(KeyHash.read, tokens(entries, info))))
    if not found or _EMPTY in found:
        raise ValueError("a key is empty")
    return found


def _hashes_of_file(path: Any, info: ValidationInfo) -> tuple[KeyHash, ...]:
    if not isinstance(path, str) or not path.strip():
        raise ValueError("must be the path of a file")
    return _hashes(f"file:{path}", info)


Keys = Annotated[tuple[KeyHash, ...], BeforeValidator(_hashes, json_schema_input_type=str | list[str])]
KeyFile = Annotated[tuple[KeyHash, ...], BeforeValidator(_hashes_of_file, json_schema_input_type=str)]


def _printable(name: str) -> str:
    if not name.isprintable():
        raise ValueError("must be printable: it goes into logs")
    return name


_WITH_MODEL = frozenset(
    "audio chat completions embeddings images messages moderations rerank reranks responses services".split()
)
"""First segments of the APIs whose body names, at its top, the model that will work (`services`: DashScope's own)."""


class Client(Block):
    """Somebody who may come in. `key`, `keyFile`: one or several keys. `models`: the names it may ask for.
    `routes`: the names of the routes that it may use, empty for all. `groups`: what `limits` may call it, with others.
    `limits`: how much it may use."""

    name: Annotated[str, Field(min_length=1, max_length=100), AfterValidator(_printable)]
    key: Keys = ()
    key_file: KeyFile = ()
    models: Patterns = NamePatterns(["*"])
    routes: Annotated[tuple[str, ...], Field(min_length=1)] = ()
    groups: Annotated[tuple[Annotated[str, Field(min_length=1, max_length=100)], ...], Field(min_length=1)] = ()
    limits: Annotated[tuple[Limit, ...], Field(min_length=1)] = ()

    @model_validator(mode="after")
    def _one_place_for_keys(self) -> "Client":
        if bool(self.key) == bool(self.key_file):
            raise ValueError("needs a key or a keyFile, and not both")
        return self

    @property
    def keys(self) -> tuple[KeyHash, ...]:
        return self.key or self.key_file

    @property
    def limited(self) -> bool:
        """Whether there are models that it may not use."""
        return self.models.patterns != ("*",)

    def may_use(self, route: str) -> bool:
        """Whether a route, by name, is there for this client."""
        return not self.routes or route in self.routes

    def check_model(self, target: Target, given: Fields, model: str | None) -> None:
        """A request whose JSON body names `model`. Raises `ModelNotAllowed`."""
        if not self.limited:
            return
        # Go's decoder, behind many servers of one's own, would take "Model" for "model" (encoding/json, 2026).
        twins = [name for name in given if name != "model" and name.lower() == "model"]
        if model is None or twins or target.root not in _WITH_MODEL:
            raise ModelNotAllowed("this client may use some models only, and the request does not clearly name one")
        if model not in self.models:
            raise ModelNotAllowed(f"the model {model!r} is not allowed for this client")

    def check_unread(self) -> None:
        """A request whose body streams past us unread. Raises `ModelNotAllowed`."""
        if self.limited:
            raise ModelNotAllowed("this client may use some models only, and bodies of this kind are not read for one")

    def listed(self, names: list[str] | None) -> list[str] | None:
        """Of the names that there are, those it may ask for; where only the vendor knows them (None), those of its
        own that are no patterns."""
        if not self.limited:
            return names
        return [name for name in (self.models.exact if names is None else names) if name in self.models]


ANYONE: Final = Client.model_construct(name="")
"""Who comes in where no clients are configured."""


Book = Sequence[tuple[bytes, Client]]
"""The digest of every key there is, and whose it is."""


def book(clients: Sequence[Client]) -> Book:
    return tuple((key.digest, client) for client in clients for key in client.keys)


def admit(known: Book, headers: Mapping[str, str]) -> Client:
    """The client whose key a request shows; anyone where there are no keys. Raises `InvalidApiKey`."""
    if not known:
        return ANYONE
    same = hmac.compare_digest
    shown = [KeyHash.of(key).digest for key in _shown(headers)]
    found: Client | None = None
    for digest in shown:
        for key, client in known:  # all of them, always: how long it takes must not depend on which one it is
            if same(key, digest) and found is None:
                found = client
    if found is None:
        raise InvalidApiKey(
            "the API key is not valid here" if shown else "an API key is needed: send it as Authorization: Bearer KEY"
        )
    return found


def _shown(headers: Mapping[str, str]) -> Iterator[str]:
    scheme, _, credential = headers.get("authorization", "").strip().partition(" ")
    given = [credential if scheme.lower() == "bearer" else "", *(headers.get(name, "") for name in CREDENTIALS[1:])]
    return (key[:_LONGEST_KEY] for key in map(str.strip, given) if key)


def without_keys(clients: Sequence[Client], headers: Mapping[str, str]) -> Mapping[str, str]:
    """A request's headers as they concern vendors: keys that were shown to us stay here."""
    return {k: v for k, v in headers.items() if k not in CREDENTIALS} if clients else headers
