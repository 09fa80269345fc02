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
    assert jsontext.dump(value) == rb'{"\ud83d":["%b","\ude00",1,null,{}],"a":1.10}' % "你".encode()


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


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.sampled_from('a"\\,{[]}: \n你\ud83d'), max_size=8),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=4), inner, max_size=6),
    max_leaves=40,
)


def values(value: Any, *, numbers: bool) -> int:
    if isinstance(value, dict):
        inner = [*value.values(), *(() if numbers else value)]
    else:
        inner = value if isinstance(value, list) else []
    return (numbers or isinstance(value, dict | list | str)) + sum(values(one, numbers=numbers) for one in inner)


@pytest.mark.parametrize("numbers", [True, False])
@pytest.mark.parametrize("piece", [1, 7, 1 << 18])
@given(value=VALUES, indent=st.sampled_from([None, 1]), ascii=st.booleans())
def test_values_are_counted_without_reading(
    value: Any, indent: int | None, ascii: bool, numbers: bool, piece: int
) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=ascii).encode("utf-8", "surrogatepass") + b" " * 200
    count = values(value, numbers=numbers)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jsontext, "_MARKS_PIECE", piece)
        assert not jsontext.many(text, count, numbers=numbers)
        assert count == 0 or jsontext.many(text, count - 1, numbers=numbers)


UNITS = [b"{}", b"[]", b'""', b"0", b"null", b'{"a":0}', b'{"role":"user","content":""}', b'[{"a":[1,"b"]}]']


@pytest.mark.parametrize("unit", UNITS)
def test_many_small_values_are_many_and_one_long_text_is_not(unit: bytes) -> None:
    text = b'{"messages":[' + b",".join([unit] * 50_000) + b"]}"
    assert jsontext.many(text, 50_001)
    assert jsontext.many(text, 50_001, numbers=False) == (unit not in (b"0", b"null"))
    quoted = jsontext.dump({"messages": [{"role": "user", "content": text.decode() * 3}]})
    assert not jsontext.many(quoted, 100)


@pytest.mark.parametrize("text", [b"", b'"', b'"\\', b"\\" * 999, b"\xff" * 999, b'{"a":"' + b"," * 999, b'"' * 999])
def test_what_is_no_json_can_be_counted_too(text: bytes) -> None:
    jsontext.many(text, 10)
    jsontext.many(text, 10, numbers=False)


@pytest.mark.parametrize(
    ("text", "expected"), [(b"[]", []), (b'["a", "\xe4\xbd\xa0"]', ["a", "你"]), (b'["\\ud83d"]', ["\ud83d"])]
)
def test_texts(text: bytes, expected: list[str]) -> None:
    assert jsontext.texts(text) == expected


@pytest.mark.parametrize("text", [b"[1]", b'["a",1]', b"{}", b'"a"', b"null", b"[[1]]", b'["\\ud83d",1]', b"["])
def test_what_is_no_array_of_texts(text: bytes) -> None:
    with pytest.raises(NotJson):
        jsontext.texts(text)
