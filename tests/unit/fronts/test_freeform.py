"""A freeform tool's input, taken out of a function's arguments however they are cut and whatever they are."""

import itertools
import json

from hypothesis import given
from hypothesis import strategies as st
import pytest

from extproc.fronts.freeform import Freeform

TABLE = [
    ('{"input": "a"}', "a"),
    (' {\n "input" : "a\\nb" } ', "a\nb"),
    ('{"input":""}', ""),
    ('{"input":"\\u4f60\\ud83d\\ude42\\/\\\\\\""}', '你🙂/\\"'),
    ('{"input":"\\ud83d"}', "\ud83d"),
    ('{"input":"\\ud83d\\u0041"}', "\ud83dA"),
    ('{"input":"a\nb"}', "a\nb"),  # models forget to escape
    ('{"input":"a\\qb"}', "a\\qb"),
    ('{"input":"a\\u12"}', 'a\\u12'),
    ('{"input":"cut', "cut"),
    ('{"input":"cut\\', "cut"),
    ('{"input":"cut\\ud83d', "cut\ud83d"),
    ('{"input":"cut\\u12', "cut"),
    ("*** Begin Patch\n", "*** Begin Patch\n"),
    (" *** {", " *** {"),
    ("", ""),
    (" {}", ""),
    ('{"patch": "a"}', "a"),
    ('{"why": "w", "input": "a"}', "a"),
    ('{"input": ["a", 1]}', '["a",1]'),
    ('{"a": "b", "c": "d"}', '{"a": "b", "c": "d"}'),
    ('"a\\n"', "a\n"),
    ("{not JSON", "{not JSON"),
    ("{" + " " * 5000 + '"input": "a"}', "a"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "input"), TABLE)
def test_the_input_however_it_is_cut(arguments: str, input: str) -> None:
    for size in (len(arguments) or 1, 1, 2, 3, 7):
        assert fed([arguments[at : at + size] for at in range(0, len(arguments), size)]) == input


def fed(pieces: list[str]) -> str:
    reader = Freeform()
    return "".join((*map(reader.feed, pieces), reader.close()))


@given(text=st.text(), ascii=st.booleans(), cuts=st.lists(st.integers(0, 200), max_size=8))
def test_any_text_comes_back(text: str, ascii: bool, cuts: list[int]) -> None:
    arguments = json.dumps({"input": text}, ensure_ascii=ascii)
    edges = [0, *sorted(min(cut, len(arguments)) for cut in cuts), len(arguments)]
    assert fed([arguments[a:b] for a, b in itertools.pairwise(edges)]) == text


def test_what_is_sure_is_told_at_once() -> None:
    reader = Freeform()
    assert [reader.feed(piece) for piece in ('{"input": "a', "b\\", "nc")] == ["a", "b", "\nc"]
