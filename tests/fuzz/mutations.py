"""Bytes that nearly make sense: the requests and answers of the vectors, damaged.

Rule: what is drawn is plain data, so that a failure prints the very bytes that made it.
"""

from collections.abc import Mapping
import json
from typing import Any

from hypothesis import strategies as st

from tests.unit.vectors import Vector, answer_bytes, load

VECTORS = [v for v in load() if v.upstream is not None and v.answer is not None]
NUMBERS = [0, -1, 1 << 40, 10**30, 1.5, {"index": 1 << 31}]
TEXTS = ["", "x", "null", "\u2028", "👋", "a" * 300, "data: x\n\n", "[DONE]", "</think>"]
NESTED = [[], {}, [[]], [{}], {"": None}, [0] * 50, {"content": None}, {"text": 5}, {"error": {}}, {"error": "x"}]
ODD: list[Any] = [None, True, False, *NUMBERS, *TEXTS, *NESTED]
NO_JSON = [b"NaN", b"1e999", b'"\\ud800"', b"\xff", b'"\xc3"', b"[" * 2000, b"1" * 5000, b"{", b"}", b",", b"\0", b""]
NO_FRAME = [
    b"\r",
    b"\n\n",
    b"data:",
    b"id:1\n",
    b"event:error\n",
    b":HTTP_STATUS/500\n",
    b"data: [DONE]\n\n",
    b"\xef\xbb\xbf",
]
RAW = [*NO_JSON, *NO_FRAME]
Odd = st.one_of(st.sampled_from(ODD), st.text(max_size=5), st.integers(-3, 10))


@st.composite
def damaged(draw: st.DrawFn, data: bytes) -> bytes:
    """`data` with pieces cut out, doubled, moved, or replaced by something that does not belong there."""
    for _ in range(draw(st.integers(0, 4))):
        if not data:
            break
        begin = draw(st.integers(0, len(data) - 1))
        end = min(len(data), begin + draw(st.integers(0, 60)))
        match draw(st.integers(0, 4)):
            case 0:
                data = data[:begin] + data[end:]
            case 1:
                data = data[:end] + data[begin:]
            case 2:
                data = data[:begin] + draw(st.sampled_from(RAW)) + data[end:]
            case 3:
                data = data[:begin] + draw(st.binary(max_size=4)) + data[end:]
            case _:
                data = data[:end]
    return data


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every container of a document with each of its keys."""
    found: list[tuple[Any, Any]] = []
    keys = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        found += [(value, key), *places(value[key])]
    return found


def copied(value: Any) -> Any:
    return json.loads(json.dumps(value))


@st.composite
def twisted(draw: st.DrawFn, document: Any) -> Any:
    """A document with some of its values replaced, removed or copied elsewhere."""
    document = copied(document)
    for _ in range(draw(st.integers(1, 4))):
        spots = places(document)
        if not spots:
            break
        container, key = draw(st.sampled_from(spots))
        other = draw(st.sampled_from(spots))
        match draw(st.integers(0, 3)):
            case 0 if isinstance(container, dict):
                del container[key]
            case 1:
                container[key] = copied(other[0][other[1]])
            case _:
                container[key] = copied(draw(Odd))
    return document


def documents(stream: bytes) -> list[tuple[bytes, Any]]:
    """The events of a stream as what stands before their JSON, and the JSON; None where there is none."""
    found = []
    for block in stream.split(b"\n\n"):
        head, colon, data = block.rpartition(b"data:")
        try:
            found.append((head + colon, json.loads(data)))
        except ValueError:
            found.append((block, None))
    return found


@st.composite
def answers(draw: st.DrawFn, vector: Vector) -> bytes:
    """The answer of a vector, twisted or damaged or both."""
    data = answer_bytes(vector)
    if draw(st.booleans()):
        blocks = documents(data)
        out = []
        for head, document in blocks:
            changed = document if document is None or draw(st.booleans()) else draw(twisted(document))
            out.append(head if document is None else head + json.dumps(changed).encode())
            out += out[-1:] * draw(st.sampled_from([0, 0, 0, 1, 3]))
        data = (b"\n\n" if len(blocks) > 1 else b"").join(out)
    return draw(damaged(data)) if draw(st.booleans()) else data


@st.composite
def bodies(draw: st.DrawFn, body: Mapping[str, Any] | None) -> bytes:
    """A client's body, twisted or damaged or both."""
    document = draw(twisted(body or {"model": "m"})) if draw(st.booleans()) else body
    data = json.dumps(document).encode()
    return draw(damaged(data)) if draw(st.booleans()) else data


def cuts(data: bytes) -> st.SearchStrategy[list[int]]:
    return st.lists(st.integers(0, len(data)), max_size=8)
