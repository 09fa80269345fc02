"""One API call, understood: which API its path names, and everything a provider needs to translate it.

Rule: frozen data and path grammar. No vendor, no configuration.
"""

from collections.abc import Mapping
from functools import lru_cache
import itertools
import re
from typing import Final
from urllib.parse import quote, unquote

from extproc.terms.errors import PathTooLong
from extproc.terms.frozen import Frozen
from extproc.terms.tallies import OTHER
from extproc.text.jsontext import Fields

CHAT = "chat/completions"
COMPLETIONS = "completions"
EMBEDDINGS = "embeddings"
RESPONSES = "responses"
MESSAGES = "messages"
MODELS = "models"

JSON_APIS = frozenset({CHAT, COMPLETIONS, EMBEDDINGS, RESPONSES, MESSAGES})
"""APIs whose request is JSON whatever its content-type says, and whose answer is never anything else."""

_OPERATIONS = {
    CHAT: "chat",
    RESPONSES: "chat",
    MESSAGES: "chat",
    COMPLETIONS: "text_completion",
    EMBEDDINGS: "embeddings",
}

ROOTS = frozenset(
    "assistants audio batches chat completions containers conversations embeddings evals files fine_tuning images "
    "messages models moderations realtime responses threads uploads vector_stores videos".split()
)


_SAFE = "!$&'()*+,;=:@"
"""Characters that a path segment may have as they are (RFC 3986, 3.3)."""


class Target(Frozen, frozen=True):
    """What a request path names.

    `path`: the client's path without its query. `query`: without `?`, possibly empty.
    `api`: the path behind `/v1/`, cleaned (`chat/completions`, `files/abc/content`); None where it has no `/v1/`.
    `plain`: nobody on the way could read the path as another one (dot segments, control characters).
    `front`: the dialect that a client speaks here; `chat` stands for all of OpenAI's but Responses.
    """

    path: str
    query: str
    api: str | None
    plain: bool = True
    front: str = "chat"

    @property
    def root(self) -> str:
        """The API's first segment (`files`); empty when there is none."""
        return (self.api or "").partition("/")[0]


def operation_of(target: Target) -> str:
    """What an API does, as OpenTelemetry calls it (`gen_ai.operation.name`); of others the first segment, as far as it
    is known."""
    return _OPERATIONS.get(target.api or "") or (target.root if target.root in ROOTS else OTHER)


_LONGEST_PATH = 8192
_MOST_SEGMENTS = 64
"""More than any API has: the longest paths name a model, of 512 characters at most, each of which may be nine long."""

_ENCODED_TOO_OFTEN = 4


def _is_plain(segment: str) -> bool:
    """Whether a decoded segment is what it seems. Servers decode twice (`%252e`), take `\\` for `/`, and some drop what
    stands behind a `;` (`..;` is `..` for Tomcat) or blanks."""
    for _ in range(_ENCODED_TOO_OFTEN):
        if not segment.isprintable() and any(c < " " or "\x7f" <= c <= "\x9f" for c in segment):
            return False
        if any(part.partition(";")[0].strip() in (".", "..") for part in re.split(r"[/\\]", segment)):
            return False
        decoded = unquote(segment)
        if decoded == segment:
            return True
        segment = decoded
    return False


def first_segment(path: str, prefix: str) -> str | None:
    """What stands first behind a prefix that ends with `/`, decoded; None where the path begins otherwise."""
    if not path.startswith(prefix):
        return None
    return next((unquote(s) for s in path.removeprefix(prefix).split("/") if s), "")


def parse_path(raw: str) -> Target:
    """A raw request path, read leniently: any prefix, doubled slashes and a doubled `/v1` (a common BASE_URL
    mistake) are forgiven. Dot segments and control characters are not, however they are written: such a path names no
    API. Raises `PathTooLong`.
    """
    return _remembered(raw) if len(raw) <= _SHORT else _parsed(raw)


_SHORT = 256
"""Characters of a path that is remembered: clients ask for the same few, and none may fill the memory."""


def _parsed(raw: str) -> Target:
    path, _, query = raw.partition("?")
    if len(path) > _LONGEST_PATH or path.count("/") > _MOST_SEGMENTS:
        raise PathTooLong(f"a path may have {_LONGEST_PATH} characters and {_MOST_SEGMENTS} slashes")
    segments = [unquote(s) for s in path.split("/") if s]
    if not all(map(_is_plain, segments)):
        return Target(path, query, None, plain=False)
    starts = [i for i, pair in enumerate(itertools.pairwise(segments), 1) if pair[0] == "v1" != pair[1]]
    start = next((i for i in starts if segments[i] in ROOTS), starts[0] if starts else None)
    if start is None or "/" in segments[start]:
        return Target(path, query, None)
    root = segments[start]
    front = root if root in (MESSAGES, RESPONSES) else "chat"
    return Target(path, query, "/".join(quote(s, safe=_SAFE) for s in segments[start:]), front=front)


CHAT_TARGET: Final = Target("/v1/chat/completions", "", CHAT)
"""What a request becomes whose dialect the vendor does not speak."""

_remembered = lru_cache(maxsize=256)(_parsed)


class Call(Frozen, frozen=True):
    """One request to one provider, complete and immutable: a provider may translate it any number of times.

    `body`: the client's JSON object, opened one level, after `customSettings`; None when there was no JSON body.
    `settled`: these changed something. `text`: the client's own bytes.
    `model`: the name the client asked for; `upstream_model`: the vendor's; both None where the API has none.
    `stream`: the client wants server-sent events. `turned`: the vendor answers for this model on another path than is
    known. `token`: the vendor key chosen for this call, None without one. `context`: the system text to insert. `now`:
    seconds since 1970. `nonce`: 96 random bits for minted ids.
    Headers, bodies and keys are not in its `repr`.
    """

    hidden = ("headers", "body", "text", "token", "context")

    target: Target
    method: str
    headers: Mapping[str, str] = {}
    body: Fields | None = None
    text: bytes = b""
    model: str | None = None
    upstream_model: str | None = None
    settled: bool = False
    stream: bool = False
    turned: bool = False
    token: str | None = None
    context: str | None = None
    now: int = 0
    nonce: int = 0

    @property
    def api(self) -> str | None:
        """The path behind `/v1/`, see `Target.api`."""
        return self.target.api

    @property
    def renamed(self) -> bool:
        """The vendor knows the model under another name than the client."""
        return self.model is not None and self.model != self.upstream_model
