"""What a vendor's refusal says, whatever its form.

Rule: only the usual message fields of a JSON error are quoted; HTML and other text never is.
"""

from collections.abc import Mapping
from contextlib import suppress
import re
from typing import Any, Final

from extproc.terms.errors import UpstreamError
from extproc.text import jsontext
from extproc.text.jsontext import NotJson

_MESSAGES: Final = (
    "message",
    "msg",
    "error_msg",
    "error_message",
    "errorMessage",
    "detail",
    "error",
    "errors",
    "title",
)
"""In the order in which they are looked for; a value may again be an object or a list of those."""
_CODES: Final = ("code", "error_code", "errorCode", "type", "status")
_HTML = re.compile(r"<(?:!doctype|html|head|body|div|p|h\d|title|script|pre|center|br)\b", re.IGNORECASE)
_DEPTH: Final = 6
_MOST: Final = 5
_LONGEST: Final = 2000


def vendor_error(status: int, body: bytes) -> UpstreamError:
    """A vendor's error document as an OpenAI error: one that is in OpenAI's form stays as it is."""
    with suppress(NotJson):  # what its other members are is not ours to judge
        error = bytes(jsontext.fields(body).get("error", b""))
        if error.startswith(b"{") and isinstance(said := jsontext.peek(error, "message"), str) and _plain(said):
            code = jsontext.peek(error, "code")
            return UpstreamError(status, said, code=code if isinstance(code, str) else None, document=body)
    try:
        document: Any = jsontext.load(body)
    except NotJson:
        document = None
    message = _said(document) if isinstance(document, dict | list) else ""
    code = (_code(document.get("error")) if isinstance(document, dict) else None) or _code(document)
    return UpstreamError(status, message or f"the model vendor answered with status {status}", code=code)


def _code(document: Any) -> str | None:
    if isinstance(document, list) and document:
        return _code(document[0])
    if isinstance(document, dict):
        for name in _CODES:
            value = document.get(name)
            if isinstance(value, str) and value and ":" not in value:  # RFC 9457's `type` is a URL
                return value
            if name != "status" and isinstance(value, int) and not isinstance(value, bool) and value:
                return str(value)
        return _code(document.get("errors")) or _code(document.get("detail"))
    return None


def _said(value: Any, depth: int = _DEPTH) -> str:
    """The words of an error: text, an object with one of the usual members, or a list of such. FastAPI's
    `{"loc", "msg"}` say where, RFC 9457's `{"title", "detail"}` say both."""
    if not depth:
        return ""
    match value:
        case str():
            return _plain(value)
        case list():
            return "; ".join(filter(None, [_said(one, depth - 1) for one in value[:_MOST]]))
        case dict():
            return _of_object(value, depth)
        case _:
            return ""


def _of_object(error: Mapping[str, Any], depth: int) -> str:
    words = next(filter(None, (_said(error.get(name), depth - 1) for name in _MESSAGES)), "")
    if words and isinstance(place := error.get("loc"), list):
        where = ".".join(str(step) for step in place[:8] if isinstance(step, str | int))
        return f"{where}: {words}" if where else words
    title = error.get("title")
    if words and isinstance(title, str) and isinstance(error.get("detail"), str) and _plain(title) not in ("", words):
        return f"{_plain(title)}: {words}"
    return words


def _plain(text: str) -> str:
    """Empty for a page where a message should be."""
    return "" if _HTML.search(text) else text.strip()[:_LONGEST]
