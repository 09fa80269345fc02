"""JSON whose untouched values keep their exact bytes.

Rule: a client's document is opened one level at a time (`Fields`: name → raw bytes of the value), so that
what nobody asked about (20-digit numbers, key order, a megabyte of base64) is carried, never re-encoded.
Everything that is not strict JSON (NaN, bad UTF-8, absurd nesting) is a `NotJson`. Half of an escaped surrogate
pair is JSON (RFC 8259, 8.2) and common: clients cut texts inside an emoji. msgspec refuses it, so such texts, and
no others, are read by the standard library.
"""

import codecs
from collections.abc import Callable, Iterator
from contextlib import suppress
import json
import math
import re
from typing import Any, NoReturn, TypeVar

import msgspec
from msgspec import Raw

Fields = dict[str, Raw]
T = TypeVar("T")

TRUE = Raw(b"true")
FALSE = Raw(b"false")
NULL = Raw(b"null")

_fields = msgspec.json.Decoder(Fields)
_list = msgspec.json.Decoder(list[Raw])
_texts = msgspec.json.Decoder(list[str])
_objects = msgspec.json.Decoder(list[Fields])
_any = msgspec.json.Decoder()
_one = msgspec.json.Decoder(Raw)
_encoder = msgspec.json.Encoder()

_utf8 = codecs.getincrementaldecoder("utf-8")
_PIECE = 1 << 14

_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_HALF = re.compile("[\ud800-\udfff]")
_VALUE = re.compile(r"[^ \t\r\n,:]")


class NotJson(ValueError):
    """The text is not the JSON that was expected; the message says why and never quotes the text."""


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)


def _finite(digits: str) -> float:
    if math.isinf(number := float(digits)):
        raise ValueError("out of range")
    return number


_loose = json.JSONDecoder(parse_float=_finite, parse_constant=_refuse)
_unread = json.JSONDecoder(parse_float=str, parse_int=str, parse_constant=_refuse)


_UNREAD = (RecursionError, UnicodeDecodeError, msgspec.DecodeError)


def _again(text: bytes | Raw, loosely: Callable[[str], T], error: Exception) -> T:
    """What msgspec did not read, for one of the reasons of `_UNREAD`."""
    if isinstance(error, RecursionError):
        raise NotJson("nested too deeply") from None
    if isinstance(error, UnicodeDecodeError):
        raise NotJson("not UTF-8") from None
    given = bytes(text)
    if _SURROGATE.search(given):
        with suppress(ValueError, RecursionError):
            return loosely(given.decode())
    raise NotJson(str(error)) from None


def _split(text: str, kind: type) -> Iterator[tuple[Any, Raw]]:
    """The values one level down, read and as they stand; an object's names are among them."""
    if not isinstance(_unread.decode(text), kind):
        raise ValueError("another type")
    at = text.index("{" if kind is dict else "[") + 1
    while (match := _VALUE.search(text, at)) and match[0] not in "}]":
        value, at = _unread.raw_decode(text, match.start())
        yield value, Raw(text[match.start() : at].encode())


def _split_object(text: str) -> Fields:
    parts = _split(text, dict)
    return {name: raw for (name, _), (_, raw) in zip(parts, parts, strict=True)}


def _split_array(text: str) -> list[Raw]:
    return [raw for _, raw in _split(text, list)]


def _split_objects(text: str) -> list[Fields]:
    return [_split_object(bytes(raw).decode()) for raw in _split_array(text)]


def _split_texts(text: str) -> list[str]:
    found = _loose.decode(text)
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise ValueError("not an array of strings")
    return found


def _check_utf8(text: bytes) -> None:
    """Raw values are skipped over, so the UTF-8 of a whole text is not checked by reading it. Piece by piece: a line of
    Chinese beside a megabyte of ASCII must not widen all of it."""
    if not text.isascii():
        try:
            if len(text) <= _PIECE:
                text.decode()
                return
            decoder = _utf8()
            for at in range(0, len(text), _PIECE):
                decoder.decode(text[at : at + _PIECE], final=at + _PIECE >= len(text))
        except UnicodeDecodeError:
            raise NotJson("not UTF-8") from None


_MARKS = b'",[]{}'
_AS_MARKS = bytes(c if c in _MARKS else ord("0") for c in range(256))
_NO_MARKS = b" \t\r\n:"
_STRING = re.compile(rb'"[^"]*"?')
_MARKS_PIECE = 1 << 18


def many(text: bytes, most: int, *, numbers: bool = True) -> bool:
    """Whether a JSON text has more than `most` values, at all depths; told from its marks, before anything is made of
    it. `numbers`: whether those count (and `true`, `false`, `null`); without them names of members do.

    A text that is no JSON has any number, but no work is lost on it.
    """
    if len(text) <= 2 * most:  # `0,` is the shortest
        return False
    opened = text.count(b"{") + text.count(b"[")
    if opened + (text.count(b",") + 1 if numbers else text.count(b'"') // 2) <= most:  # if none was within a string
        return False
    plain = text.replace(b"\\\\", b"").replace(b'\\"', b"")
    found, inside, last = int(numbers), False, b""
    for at in range(0, len(plain), _MARKS_PIECE):
        marks = plain[at : at + _MARKS_PIECE].translate(_AS_MARKS, _NO_MARKS)
        if inside:
            _, quote, marks = marks.partition(b'"')
            inside = not quote
        inside ^= marks.count(b'"') % 2 == 1
        outside, strings = _STRING.subn(b"0", marks)
        found += outside.count(b"{") + outside.count(b"[")
        if numbers:
            joined = last + outside
            found += outside.count(b",") - joined.count(b"{}") - joined.count(b"[]")
            last = joined[-1:]
        else:
            found += strings
        if found - (last in (b"{", b"[")) > most:  # that one may turn out to be empty
            return True
    return False


def fields(text: bytes | Raw) -> Fields:
    """The members of a JSON object, values unread; of members named twice the last one counts.

    Raises `NotJson` when the text is not one JSON object in UTF-8.
    """
    try:
        opened = _fields.decode(text)
    except _UNREAD as error:
        opened = _again(text, _split_object, error)
    if isinstance(text, bytes):
        _check_utf8(text)
    return opened


def check(text: bytes) -> None:
    """Raises `NotJson` when the text is not one JSON value in UTF-8."""
    try:
        _one.decode(text)
    except _UNREAD as error:
        _again(text, _unread.decode, error)
    _check_utf8(text)


def items(text: bytes | Raw) -> list[Raw]:
    """The elements of a JSON array, unread. Raises `NotJson`."""
    try:
        return _list.decode(text)
    except _UNREAD as error:
        return _again(text, _split_array, error)


def objects(text: bytes | Raw) -> list[Fields]:
    """The elements of a JSON array of objects, each as by `fields`, in one reading. Raises `NotJson`."""
    try:
        return _objects.decode(text)
    except _UNREAD as error:
        return _again(text, _split_objects, error)


def texts(text: bytes | Raw) -> list[str]:
    """The elements of a JSON array of strings. Raises `NotJson`, at the first that is none."""
    try:
        return _texts.decode(text)
    except _UNREAD as error:
        return _again(text, _split_texts, error)


def load(text: bytes | Raw) -> Any:
    """The whole value as Python objects. Raises `NotJson`."""
    try:
        return _any.decode(text)
    except _UNREAD as error:
        return _again(text, _loose.decode, error)


def peek(text: bytes | Raw, *names: str) -> Any:
    """The value at the end of a path of names; None where it is not there or cannot be read."""
    try:
        for name in names:
            text = fields(text)[name]
        return load(text)
    except (NotJson, KeyError):
        return None


def whole(value: Any) -> int | None:
    """A number without a fraction, also where it is written with one (`1.0`); None for everything else."""
    if type(value) is int:
        return value
    return int(value) if isinstance(value, float) and value.is_integer() else None


def dump(value: Any) -> bytes:
    """Compact UTF-8 JSON; `Raw` values inside are copied as they stand."""
    try:
        return _encoder.encode(value)
    except UnicodeEncodeError:
        return _escaped(value)


def _as_escape(half: re.Match[str]) -> str:
    return f"\\u{ord(half[0]):04x}"


def _escaped(value: Any) -> bytes:
    """JSON with escapes, for half a surrogate pair, which UTF-8 cannot hold."""
    match value:
        case dict():
            return b"{%b}" % b",".join(b"%b:%b" % (_escaped(k), _escaped(v)) for k, v in value.items())
        case list():
            return b"[%b]" % b",".join(map(_escaped, value))
        case str():
            return _HALF.sub(_as_escape, json.dumps(value, ensure_ascii=False)).encode()
        case _:
            return _encoder.encode(value)


def raw(value: Any) -> Raw:
    """A Python value as a member for `Fields`."""
    return Raw(dump(value))
