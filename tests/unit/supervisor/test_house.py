"""What the console is told of this process."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from extproc.supervisor.house import House


@pytest.mark.parametrize(
    ("used", "votes"),
    [(Path("/state/usage-1.db"), Path("/state/usage-1-votes.db")), (None, None)],
    ids=["file", "none"],
)
def test_votes_are_kept_beside_what_was_used(used: Path | None, votes: Path | None) -> None:
    live: Any = SimpleNamespace(usage_file=used)
    address: Any = SimpleNamespace(host="127.0.0.1")
    door: Any = None
    assert House(live, address, door, lambda: None).votes == votes
