"""The gate for counted instructions: what it lets through. The counting itself is `make instructions`."""

import json

import pytest

from .instructions import BASELINES, UPDATE, Counts, cases, hint, problem, table

BEFORE = {"a": 1000, "b": 2000}


@pytest.mark.parametrize(
    ("now", "failure", "better"),
    [
        pytest.param({"a": 1000, "b": 2000}, None, None, id="as it was"),
        pytest.param({"a": 1100, "b": 1800}, None, None, id="a tenth is noise of other versions"),
        pytest.param({"a": 1101, "b": 2000}, "dearer: a.", None, id="dearer"),
        pytest.param({"a": 1101, "b": 3000}, "dearer: a, b.", None, id="all that is dearer is named"),
        pytest.param({"a": 1000, "b": 1799}, None, "cheaper: b.", id="cheaper"),
        pytest.param({"a": 1000, "b": 2000, "c": 1}, "differ: c.", None, id="a new case has no baseline"),
        pytest.param({"a": 1000}, "differ: b.", None, id="a baseline without its case"),
    ],
)
def test_a_tenth_more_is_refused(now: Counts, failure: str | None, better: str | None) -> None:
    for said, wanted in ((problem(BEFORE, now), failure), (hint(BEFORE, now), better)):
        assert (said is None) == (wanted is None), said
        assert said is None or (wanted in said and UPDATE in said)


def test_the_table_has_both_counts_and_their_ratio() -> None:
    assert [line.split() for line in table({"a": 1000}, {"a": 1500, "b": 1})][1:] == [
        ["a", "1,000", "1,500", "1.500"],
        ["b", "-", "1", "-"],
    ]


def test_every_case_has_a_baseline_and_every_baseline_its_case() -> None:
    for kind, counts in json.loads(BASELINES.read_text()).items():
        assert list(counts) == [case.name for case in cases(native=kind.endswith("native codec"))], kind
