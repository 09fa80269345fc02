"""That the benchmark still works, in seconds: its load generator's own tests, and its claims about the referee."""

from dataclasses import replace
from pathlib import Path
import shutil
import subprocess

import pytest

from . import measure
from .scenarios import SCENARIOS
from .servers import Park
from .traffic import SOURCE

pytestmark = pytest.mark.skipif(shutil.which("go") is None, reason="the load generator is written in Go")

REFEREES = {
    "openai-whole": "noop-headers",
    "renamed-whole": "noop-whole",
    "compatible-whole": "noop-headers",
    "qwen-tools-whole": "noop-whole",
    "qwen-tools-stream-20": "noop-stream",
    "openai-stream-20": "noop-headers",
    "openai-1m": "noop-echo",
}


def test_the_load_generator_counts_rightly() -> None:
    for command in (["go", "vet", "./..."], ["go", "test", "./..."]):
        done = subprocess.run(command, cwd=SOURCE, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_answers_are_right_and_the_do_nothing_processor_has_our_phases(tmp_path: Path) -> None:
    with Park(tmp_path) as park:
        for scenario in SCENARIOS:
            if (referee := REFEREES.get(scenario.name)) is None:
                continue
            arms = replace(scenario, arms=("us", referee), connections=1)
            for seconds in (0.2, 1.0, 5.0):  # a request at the edge counts for more where there are few
                row = measure.matrix(arms, park, measure.Effort(1, seconds, 0.1, 0, 0), tmp_path)
                assert [arm["problem"] for arm in row["arms"].values() if "problem" in arm] == [], scenario.name
                ours, theirs = (round(row["arms"][arm]["repetitions"][0]["messages"]) for arm in ("us", referee))
                if ours == theirs:
                    break
            assert ours == theirs or scenario.chunks, (scenario.name, ours, theirs)  # events may come together
            assert abs(ours - theirs) < 2, (scenario.name, ours, theirs)
