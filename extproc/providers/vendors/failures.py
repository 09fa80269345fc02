"""Errors that a vendor tells within an answer of status 200. Rule: the one place for `errors`; OpenAI's own form
(`{"error": {…}}`, or its text) is read without being asked for."""

from collections.abc import Iterator
from contextlib import suppress
import re
from typing import Any

from msgspec import Raw

from extproc.providers.base import vendor_error
from extproc.providers.vendors.quirks import ErrorForm
from extproc.terms.errors import UpstreamError
from extproc.text import jsontext
from extproc.text.jsontext import NULL, Fields, NotJson

OPENAI = ErrorForm(at="error", message="error.message", code="error.code")

_WORDS = (
    (
        401,
        re.compile(r"auth|api.?key|(?:invalid|expired|wrong).?token|token.?(?:invalid|expired)|login|鉴权|密钥", re.I),
    ),
    (429, re.compile(r"rate.?limit|too.?many|quota|qps|rpm|tpm|concurren|throttl|频率|限流|并发", re.I)),
    (400, re.compile(r"inspect|sensitive|content.?(?:filter|policy)|moderat|safety|risk|illegal|敏感|审核|违规", re.I)),
)
_HTTP = range(400, 600)


def found(fields: Fields, forms: tuple[ErrorForm, ...]) -> UpstreamError | None:
    """The error that an answer, or an event of a stream, is."""
    for form in (*forms, OPENAI):
        first, _, rest = form.at.partition(".")
        value = fields.get(first, NULL)
        if value == NULL or (rest and bytes(value) in (b"{}", b"[]")):
            continue
        said = jsontext.peek(value, *rest.split(".")) if rest else jsontext.peek(value)
        if said in (None, False, "", {}, []) or (said in form.ok and not isinstance(said, bool)):
            continue
        return _error(fields, form, said)
    return None


def told(message: str, code: object = None, *, status: object = None) -> UpstreamError:
    """An error with the status that its words stand for."""
    text = str(code) if isinstance(code, int | str) and code != "" else None
    return UpstreamError(_status(status, code, message), message, code=text)


def _error(fields: Fields, form: ErrorForm, said: Any) -> UpstreamError:
    message, code = at(fields, form.message), at(fields, form.code)
    if not isinstance(message, str) or not message:
        message = said if isinstance(said, str) else "the model vendor's answer is an error"
    if form.at != OPENAI.at and code is None and not isinstance(said, dict | list):
        code = said
    if str(code) in form.statuses:
        return told(message, code, status=form.statuses[str(code)])
    kind = at(fields, f"{form.at}.type") if isinstance(said, dict) else None
    error = told(message, code, status=at(fields, form.status))
    if error.status == 502 and isinstance(kind, str):
        return UpstreamError(_status(None, kind, ""), message, code=error.code)
    return error


def _status(status: object, code: object, message: str) -> int:
    for number in (status, code):
        known = int(number) if isinstance(number, str) and number.isascii() and number.isdecimal() else number
        if isinstance(known, int) and known in _HTTP:
            return known
    words = f"{code or ''} {message}"
    return next((status for status, pattern in _WORDS if pattern.search(words)), 502)


def refusal(status: int, body: bytes, forms: tuple[ErrorForm, ...]) -> UpstreamError:
    """A refusal of status 400 or more, whose words may stand where those of a 200 do, or in one of the lists that
    servers make of them (FastAPI's `detail`, Cloudflare's `errors`)."""
    with suppress(NotJson):
        if body.lstrip().startswith(b'"') and isinstance(words := jsontext.load(body), str) and words:
            return UpstreamError(status, words)  # a bare text (SiliconFlow's documents, 2026)
        fields = jsontext.fields(body)
        if bytes(fields.get("error", b"")).startswith(b"{"):
            return vendor_error(status, body)
        for form in forms:
            message = at(fields, form.message)
            if isinstance(message, str) and message:
                code = at(fields, form.code or form.at)
                text = str(code) if isinstance(code, int | str) else None
                return UpstreamError(status, message, code=text)
        for name, word in (("detail", "msg"), ("errors", "message")):
            if message := "; ".join(_listed(fields.get(name, NULL), word)):
                return UpstreamError(status, message)
        detail = jsontext.peek(fields.get("message", NULL), "detail")
        if message := "; ".join(_listed(jsontext.raw(detail), "msg")):
            return UpstreamError(status, message)
    return vendor_error(status, body)


def _listed(value: Raw, word: str) -> Iterator[str]:
    entries = jsontext.peek(value)
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, dict) and isinstance(message := entry.get(word), str):
            place = entry.get("loc")
            where = ".".join(map(str, place)) if isinstance(place, list) else ""
            yield f"{message} ({where})" if where else message


def at(fields: Fields, path: str) -> Any:
    """What stands at a dotted path; None where nothing does."""
    first, *rest = path.split(".")
    return jsontext.peek(fields[first], *rest) if first in fields else None
