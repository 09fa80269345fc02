"""What was voted and guessed: kept in a file where there is one, else for as long as the process lives.

Rule: small and bounded; one row per game that was voted on. The newest ones count.
"""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
import sqlite3
import time
from typing import Any, Final

import structlog

from extproc.console.elo import Vote, ratings

log = structlog.get_logger("extproc.console")

MOST: Final = 10_000
_SCORES: Final = {"left": 1.0, "right": 0.0, "both": 0.5, "neither": 0.5}
_TABLE: Final = """
CREATE TABLE IF NOT EXISTS game (
  number INTEGER PRIMARY KEY AUTOINCREMENT, played REAL NOT NULL, kind TEXT NOT NULL, first TEXT NOT NULL,
  second TEXT NOT NULL, verdict TEXT, guessed INTEGER)
"""


class Votes:
    """`path`: a SQLite file, made if it is not there; None for memory, which also takes the place of a file that
    cannot be opened. That is said in the log, and so is a call that failed, which finds nothing and keeps nothing."""

    def __init__(self, path: Path | None = None) -> None:
        try:
            self._open(path)
        except (OSError, sqlite3.Error) as error:
            self._give_up(error)

    def _open(self, path: Path | None) -> None:
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            path.touch(mode=0o600)
        self._store = sqlite3.connect(":memory:" if path is None else path, timeout=1, isolation_level=None)
        self._store.execute(_TABLE)

    def _give_up(self, error: Exception) -> None:
        log.warning("votes of the blind game are kept in memory only", reason=str(error))
        self._open(None)

    def _run(self, command: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        try:
            return self._store.execute(command, values).fetchall()
        except sqlite3.Error as error:  # a full disk, another process: the next call tries again
            log.warning("votes of the blind game cannot be had now", reason=str(error))
            return []

    def close(self) -> None:
        self._store.close()

    def add(self, kind: str, names: tuple[str, str], verdict: str | None, guessed: bool | None) -> None:
        """A game that is over; one with neither a vote nor a guess tells nothing."""
        if verdict is None and guessed is None:
            return
        row = (time.time(), kind, *(name[:200] for name in names), verdict, guessed)
        self._run("INSERT INTO game (played, kind, first, second, verdict, guessed) VALUES (?, ?, ?, ?, ?, ?)", row)
        self._run("DELETE FROM game WHERE number <= (SELECT max(number) FROM game) - ?", (MOST,))

    def clear(self) -> None:
        self._run("DELETE FROM game")

    def games(self) -> list[dict[str, Any]]:
        """All, oldest first."""
        fields = ("played", "kind", "first", "second", "verdict", "guessed")
        rows = self._run(f"SELECT {', '.join(fields)} FROM game ORDER BY number")
        found = [dict(zip(fields, row, strict=True)) for row in rows]
        return [{**game, "guessed": None if game["guessed"] is None else bool(game["guessed"])} for game in found]

    def table(self) -> dict[str, Any]:
        """Games, right guesses, and the ratings."""
        games = self.games()
        guesses = [game["guessed"] for game in games if game["guessed"] is not None]
        votes = [Vote(g["first"], g["second"], _SCORES[g["verdict"]]) for g in games if g["verdict"] is not None]
        return {
            "games": len(games),
            "guesses": len(guesses),
            "right": sum(guesses),
            "votes": len(votes),
            "ratings": [asdict(rating) for rating in ratings(votes)],
        }
