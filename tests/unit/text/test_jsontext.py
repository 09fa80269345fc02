"""JSON opened one level at a time: what is carried keeps its bytes, what is no JSON is refused."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
import pytest

from extproc.text import jsontext
from extproc.text.jsontext import NotJson

HALF = rb'{"a": ["cut \ud83d", 1.10, 1e400, "\ud83d\ude00"], "n": 1.0,"\udc00":"}","a" : {"x": "\uD83D"} }'


def test_half_a_surrogate_pair_is_carried_as_it_came() -> None:
    opened = jsontext.fields(HALF)
    assert {name: bytes(raw) for name, raw in opened.items()} == {
        "a": rb'{"x": "\uD83D"}',
        "n": b"1.0",
        "\udc00": b'"}"',
    }
    assert jsontext.dump(opened) == rb'{"a":{"x":"\uD83D"},"n":1.0,"\udc00":"}"}'.replace(b'{"x":', b'{"x": ')
    array = rb'[ "\ud83d" , 1e400, {"x":[1.10]},[],"]" ]'
    assert [bytes(raw) for raw in jsontext.items(array)] == [rb'"\ud83d"', b"1e400", b'{"x":[1.10]}', b"[]", b'"]"']
    assert jsontext.load(rb'{"x": ["\ud83d", 1, 1.5, null, true]}') == {"x": ["\ud83d", 1, 1.5, None, True]}
    jsontext.check(rb' "\ud83d" ')


def test_half_a_surrogate_pair_is_written_as_it_is_read() -> None:
    value = {"\ud83d": ["你", "\ude00", 1, None, {}], "a": jsontext.Raw(b"1.10")}
    assert jsontext.dump(value) == rb'{"\ud83d":["\u4f60","\ude00",1,null,{}],"a":1.10}'


@pytest.mark.parametrize(
    "rest",
    [b"NaN", b"[-Infinity]", b"01", b"[1,]", b'"\n"', rb'"\q"', b'"\xff"', b'"\xed\xa0\x80"', b"1} x", b"[" * 99999],
)
@pytest.mark.parametrize("half", [b"1", rb'"\ud83d"'])
def test_half_a_surrogate_pair_excuses_nothing_else(half: bytes, rest: bytes) -> None:
    for text in (b'{"a":' + half + b',"b":' + rest + b"}", b'{"b":' + rest + b',"a":' + half + b"}"):
        for read in (jsontext.fields, jsontext.load, jsontext.check):
            with pytest.raises(NotJson):
                read(text)


def test_another_type_is_not_what_was_expected() -> None:
    with pytest.raises(NotJson):
        jsontext.fields(rb'["\ud83d"]')
    with pytest.raises(NotJson):
        jsontext.items(rb'{"a": "\ud83d"}')


TEXTS = st.text(st.characters(), max_size=6) | st.sampled_from(["\ud83d", "x\ude00", "\ud83d\ude00"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


@given(value=st.dictionaries(TEXTS, VALUES, max_size=4))
def test_what_is_opened_and_written_again_is_the_same(value: dict[str, Any]) -> None:
    text = json.dumps(value).encode()
    assert json.loads(jsontext.dump(jsontext.fields(text))) == json.loads(text)
    assert json.loads(jsontext.dump(jsontext.load(text))) == json.loads(text)


def test_peek_finds_or_does_not() -> None:
    assert jsontext.peek(rb'{"error": {"code": "c", "n": 1e400, "s": "\ud83d"}}', "error", "code") == "c"
    for text in (b'{"error": {"n": 1e400}}', b'{"error": {"n": {"code": 1}}}', b'{"error": null}', b"[]", b"<html>"):
        assert jsontext.peek(text, "error", "n", "x") is None
    assert jsontext.peek(b'{"n": 1e400}', "n") is None


@pytest.mark.parametrize("text", [b'[{"a": 1.10, "b": "x"}, {}]', rb' [{"a":"\ud83d"} , {"\udc00" : {"x":1}}]', b"[]"])
def test_objects_are_read_at_once_as_one_by_one(text: bytes) -> None:
    assert jsontext.objects(text) == [jsontext.fields(raw) for raw in jsontext.items(text)]


@pytest.mark.parametrize("text", [b'{"a": 1}', b"[1]", b'["x"]', rb'[{}, "\ud83d"]', b"[{}", b"[null]"])
def test_what_is_no_array_of_objects(text: bytes) -> None:
    with pytest.raises(NotJson):
        jsontext.objects(text)


@pytest.mark.parametrize("before", range(16360, 16390))
def test_utf_8_is_checked_whatever_pieces_a_long_text_is_read_in(before: int) -> None:
    jsontext.check(b'"' + b"x" * before + "你😀".encode() + b"x" * 20000 + b'"')
    for wrong in (b"\xe4\xbd", b"\xff", b"\xed\xa0\x80"):
        with pytest.raises(NotJson):
            jsontext.fields(b'{"a":"' + b"x" * before + wrong + b"x" * 20000 + b'"}')
        with pytest.raises(NotJson):
            jsontext.check(b'"' + b"x" * before + wrong + b'"')
