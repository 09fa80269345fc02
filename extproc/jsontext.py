"""JSON whose untouched values keep their exact bytes.

Rule: a client's document is opened one level at a time (`Fields`: name → raw bytes of the value), so that
what nobody asked about (20-digit numbers, key order, a megabyte of base64) is carried, never re-encoded.
Everything that is not strict JSON (NaN, bad UTF-8, a lone surrogate, absurd nesting) is a `NotJson`.
"""

from typing import Any, TypeVar

import msgspec
from msgspec import Raw

Fields = dict[str, Raw]
T = TypeVar("T")

TRUE = Raw(b"true")
NULL = Raw(b"null")

_fields = msgspec.json.Decoder(Fields)
_list = msgspec.json.Decoder(list[Raw])
_any = msgspec.json.Decoder()
_encoder = msgspec.json.Encoder()


class NotJson(ValueError):
    """The text is not the JSON that was expected; the message says why and never quotes the text."""


def _decode(decoder: "msgspec.json.Decoder[T]", text: bytes | Raw) -> T:
    try:
        return decoder.decode(text)
    except RecursionError:
        raise NotJson("nested too deeply") from None
    except UnicodeDecodeError:
        raise NotJson("not UTF-8") from None
    except msgspec.DecodeError as error:
        raise NotJson(str(error)) from None


def fields(text: bytes | Raw) -> Fields:
    """The members of a JSON object, values unread; of members named twice the last one counts.

    Raises `NotJson` when the text is not one JSON object in UTF-8.
    """
    opened = _decode(_fields, text)
    if isinstance(text, bytes) and not text.isascii():  # Raw values are skipped over, so their UTF-8 is not yet checked
        try:
            text.decode()
        except UnicodeDecodeError:
            raise NotJson("not UTF-8") from None
    return opened


def items(text: bytes | Raw) -> list[Raw]:
    """The elements of a JSON array, unread. Raises `NotJson`."""
    return _decode(_list, text)


def load(text: bytes | Raw) -> Any:
    """The whole value as Python objects. Raises `NotJson`."""
    return _decode(_any, text)


def dump(value: Any) -> bytes:
    """Compact UTF-8 JSON; `Raw` values inside are copied as they stand."""
    return _encoder.encode(value)


def raw(value: Any) -> Raw:
    """A Python value as a member for `Fields`."""
    return Raw(_encoder.encode(value))
