"""Thinking in a form of ours: what goes out comes back, and nothing else is taken for it."""

from hypothesis import given
from hypothesis import strategies as st
import pytest

from extproc.fronts.thoughts import closed, opened


@given(text=st.text(alphabet=st.characters(codec=None)))
def test_it_comes_back(text: str) -> None:
    assert opened(closed(text)) == text


@pytest.mark.parametrize(
    "value", [None, 5, "", "gAAAAABm", "aiproxy-1.***", "aiproxy-1.A", "aiproxy-1._w==", "aiproxy-9.aG0="]
)
def test_what_is_not_ours_is_nothing(value: object) -> None:
    assert opened(value) is None
