"""How long a vendor asks us to wait, in whichever of its words.

Rule: pure, on a clock that is passed in; what cannot be understood is no wish, and never an error. A vendor that says
it in another way gets a line here.
"""

from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
import math
import re
from typing import Any, Final

from extproc.text import jsontext
from extproc.text.jsontext import NotJson

MOST_TOLD: Final = 60
"""Seconds that a client is told at most: anthropic's SDKs sleep out whatever they are told, OpenAI's give up beyond it
(`retry-after` above 60 s Node, above 120 s Python; tried 2026-11)."""

_NUMBER = re.compile(r"\s*\+?(\d{1,18}(?:\.\d{0,18})?|\.\d{1,18})\s*", re.ASCII)
_WORDS = re.compile(
    rb"(?:try again|retry) (?:in|after) (?=\d)(?:(\d{1,4})h)?(?:(\d{1,4})m(?!s|i))?"
    rb"(?:(\d{1,9}(?:\.\d{1,9})?) ?(milliseconds?|ms|minutes?|min|seconds?|sec|s)\b)?",
    re.IGNORECASE,
)
_UNITS: Final = {b"ms": 0.001, b"mil": 0.001, b"min": 60.0}
_DURATION = re.compile(r"(\d{1,12}(?:\.\d{1,9})?)s", re.ASCII)


def seconds(retry_after: str | None, now: float) -> float:
    """A `retry-after` in seconds from `now`: a number or a date (RFC 9110, 10.2.3). 0 for what is neither, a date that
    no calendar has, one that is past."""
    if retry_after is None:
        return 0.0
    if number := _NUMBER.fullmatch(retry_after):
        return float(number[1])
    try:
        date = parsedate_to_datetime(retry_after)
        wait = date.replace(tzinfo=date.tzinfo or UTC).timestamp() - now
    except (ValueError, TypeError, OverflowError, IndexError):
        return 0.0
    return max(wait, 0.0)


def asked(headers: Mapping[str, str]) -> str | None:
    """What a refusal's headers ask for, as `seconds` reads it. `retry-after-ms` is what Azure and OpenAI say it in
    exactly, and their SDKs believe it first."""
    if number := _NUMBER.fullmatch(headers.get("retry-after-ms", "")):
        return f"{float(number[1]) / 1000:f}"
    return headers.get("retry-after")


def of_headers(headers: Mapping[str, str], now: float) -> float:
    """Seconds, by the headers of a refusal; 0: they do not say."""
    return seconds(asked(headers), now)


def of_body(body: bytes) -> float:
    """Seconds, by a refusal's body; 0: it does not say. Google: `error.details[].retryDelay`, `"34.07s"`
    (google.rpc.RetryInfo, 2026), the error by itself or in a list. Others in words: OpenAI and Groq `Please try again
    in 6m0s` (or `1.2s`, `350ms`), Azure `Please retry after 26 seconds` (their refusals of status 429, 2026)."""
    if found := _WORDS.search(body):
        hours, minutes, number, unit = found.groups(b"0")
        value = float(number) * _UNITS.get(unit[:3].lower(), 1.0)
        return int(hours) * 3600 + int(minutes) * 60 + value
    if b"retryDelay" not in body:
        return 0.0
    try:
        document: Any = jsontext.load(body)
    except NotJson:
        return 0.0
    if isinstance(document, list) and document:
        document = document[0]
    error = document.get("error") if isinstance(document, dict) else None
    details = error.get("details") if isinstance(error, dict) else None
    for detail in details if isinstance(details, list) else ():
        said = detail.get("retryDelay") if isinstance(detail, dict) else None
        if isinstance(said, str) and (duration := _DURATION.fullmatch(said)):
            return float(duration[1])
    return 0.0


def told(wait: float) -> str:
    """`retry-after` as a client is told it, 1 where nobody knows."""
    return str(max(1, math.ceil(min(wait, MOST_TOLD))))
