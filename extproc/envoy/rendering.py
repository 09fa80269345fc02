"""Typed messages → JSON, with fields named as in Envoy's documentation.

Rule: the same JSON as betterproto2's own `to_dict`, which validates the whole of a message again at each of its levels
and reads back the bytes of what was packed: 30 ms for a cluster (betterproto2 0.9.1, 2026), here 0.3. A message is
validated when it is made. What was packed is rendered once, however many messages share it.
"""

from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from typing import Any, Final

from betterproto2 import Casing, Message
from envoy_data_plane.google import protobuf
from envoy_data_plane.message_pool import default_message_pool

_WIDE: Final = frozenset({"int64", "uint64", "sint64", "fixed64", "sfixed64"})
"""JSON has no such numbers, so they are text there."""


class Packed(protobuf.Any):
    """An `Any` that keeps its message, and has no bytes."""

    message: Message
    rendered: Any = None

    def unpack(self, message_pool: object = None) -> Message:
        return self.message

    def __bytes__(self) -> bytes:
        raise TypeError("what was packed here is rendered as JSON only")


def packed(message: Message) -> protobuf.Any:
    result = Packed(type_url=default_message_pool.type_to_url[type(message)])
    result.message = message
    return result


def spelled(kind: type[Message], said: Mapping[str, Any]) -> protobuf.Any:
    """An `Any` of a kind whose members the library does not know: they are given as JSON."""
    result = Packed(type_url=default_message_pool.type_to_url[kind])
    result.message = kind()
    result.rendered = {"@type": result.type_url, **said}
    return result


def as_json(message: Message) -> Any:
    """A message as JSON values. What it shares with others is the same object in all of them."""
    if isinstance(message, Packed):
        if message.rendered is None:
            said = as_json(message.message)
            own = {"value": said} if _has_own_form(type(message.message)) else said
            message.rendered = {"@type": message.type_url, **own}
        return message.rendered
    if _has_own_form(type(message)):
        return message.to_dict(casing=Casing.SNAKE)
    return dict(_members(message))


def _members(message: Message) -> Iterator[tuple[str, Any]]:
    for name, key, convert, repeated, optional in _plan(type(message)):
        value = getattr(message, name)
        if repeated:
            if value:
                yield (
                    key,
                    [convert(item) for item in value]
                    if repeated == "list"
                    else {item: convert(inside) for item, inside in value.items()},
                )
        elif value is not None and (optional or value or convert is as_json):
            yield key, convert(value)


_Convert = Callable[[Any], Any]


@cache
def _has_own_form(kind: type[Message]) -> bool:
    """Whether its JSON is not that of its fields: durations, wrappers, structs."""
    return kind.to_dict is not Message.to_dict and kind is not Packed


@cache
def _plan(kind: type[Message]) -> tuple[tuple[str, str, _Convert, str, bool], ...]:
    """Of each field: its name, its name in JSON, what makes JSON of it, `list` or `map` if there are several, whether
    it is told from its default."""
    return tuple(
        (
            name,
            # betterproto2 0.9 parts `5xx` in two
            str(Casing.SNAKE(name)).rstrip("_").replace("consecutive_5_xx", "consecutive_5xx"),
            _converter(meta.map_meta[1] if meta.map_meta else meta),
            "map" if meta.map_meta else "list" if meta.repeated else "",
            bool(meta.optional) or meta.proto_type == "message",
        )
        for name, meta in _fields(kind)
    )


def _fields(kind: Any) -> Iterable[tuple[str, Any]]:
    known: Mapping[str, Any] = kind._betterproto.meta_by_field_name
    return known.items()


def _converter(meta: Any) -> _Convert:
    if meta.proto_type == "message":
        if meta.unwrap is None:
            return as_json
        wrap = meta.unwrap()
        return lambda value: as_json(wrap.from_wrapped(value))
    if meta.proto_type == "enum":
        return lambda value: (value.proto_name or value.name) if value.name else int(value)
    if meta.proto_type in _WIDE:
        return str
    if meta.proto_type == "bytes":
        return lambda value: b64encode(value).decode()
    return lambda value: value
