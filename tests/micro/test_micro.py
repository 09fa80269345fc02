"""Each case once, so that none rots. Timed with `make micro` only: where cores are shared a clock decides nothing."""

from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from .cases import CASES, Case, log_to_nowhere


@pytest.fixture(autouse=True, scope="module")
def _nobody_reads_the_log() -> Iterator[None]:
    with log_to_nowhere():
        yield
    structlog.reset_defaults()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(case: Case, benchmark: Any) -> None:
    run = case.make()
    assert case.check(run())
    assert case.check(benchmark(run)), "the same again"
