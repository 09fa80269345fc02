"""The file in which it stays what was used and what is left: SQLite, one writer.

Rule: no decision and no clock; rows in, rows out. One thread calls, and another `keep`, which waits for no history and
for no `fsync`. What a call writes is there whole or not at all, also after `kill -9`: a power cut may cost the last
second (WAL, `synchronous=NORMAL`).
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
import fcntl
import os
from pathlib import Path
import sqlite3
from typing import Final

from msgspec import msgpack

from extproc.limits.history import KEPT, MOST_ROWS, Place, Row, bounded
from extproc.terms.tallies import Tally

FORM: Final = 1
"""Of the tables. A file of another form is of another version of this program."""

_TABLES: Final = f"""
CREATE TABLE IF NOT EXISTS used (
  width INTEGER, at INTEGER, client TEXT, model TEXT, provider TEXT, route TEXT,
  errors INTEGER, estimated INTEGER, tally BLOB,
  PRIMARY KEY (width, at, client, model, provider, route)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS buckets (name TEXT PRIMARY KEY, state BLOB) WITHOUT ROWID;
PRAGMA user_version = {FORM};
"""
_ROWS: Final = "SELECT width, at, client, model, provider, route, errors, estimated, tally FROM used"
_HERE: Final = " WHERE width = ? AND at = ? AND client = ? AND model = ? AND provider = ? AND route = ?"

_tallies: Final = msgpack.Decoder(Tally)

StoreError = (sqlite3.Error, OSError)
"""What every call may raise: no such place, no room, a damaged file."""


class Store:
    """An open file. `path` None: nothing is kept beyond this process."""

    def __init__(self, path: Path | None) -> None:
        """Raises `StoreError`; also where another process has the file."""
        self._lock: int | None = None
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(self._lock)
                raise OSError(f"another process has {path}") from None
        try:
            self._base = _connected(path)
            self._opened(path)
            self._buckets = _connected(path)
            self._buckets.execute("PRAGMA synchronous = NORMAL")
            self._buckets.execute("PRAGMA wal_autocheckpoint = 0")  # the other connection's work
        except BaseException:
            self.close()
            raise

    def _opened(self, path: Path | None) -> None:
        if path is not None:
            path.chmod(0o600)
        form = self._base.execute("PRAGMA user_version").fetchone()[0]
        if form not in (0, FORM):
            raise sqlite3.DatabaseError(f"the file is of form {form}, this version's is {FORM}")
        self._base.execute("PRAGMA journal_mode = WAL")
        self._base.execute("PRAGMA synchronous = NORMAL")
        self._base.executescript(_TABLES)

    def close(self) -> None:
        with suppress(AttributeError, sqlite3.Error):
            self._base.close()
            self._buckets.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def write(self, rows: Iterable[Row]) -> None:
        """Add rows to what is there."""
        with self._base:
            self._base.execute("BEGIN IMMEDIATE")
            for row in rows:
                self._add(row)

    def keep(self, buckets: Mapping[str, bytes | None]) -> None:
        """Put buckets in the place of their former states; None: forget one."""
        with self._buckets:
            self._buckets.execute("BEGIN IMMEDIATE")
            for name, state in buckets.items():
                if state is None:
                    self._buckets.execute("DELETE FROM buckets WHERE name = ?", (name,))
                else:
                    self._buckets.execute("INSERT OR REPLACE INTO buckets VALUES (?, ?)", (name, state))

    def _add(self, row: Row) -> None:
        known = self._base.execute(_ROWS + _HERE, _where(row)).fetchone()
        if known is None and self._crowded(row):
            row = bounded(row)
            known = self._base.execute(_ROWS + _HERE, _where(row)).fetchone()
        if known is not None:
            sum = _row(known)
            sum.merge(row)
            row = sum
        values = (*_where(row), row.errors, row.estimated, msgpack.encode(row.tally))
        self._base.execute("INSERT OR REPLACE INTO used VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", values)

    def _crowded(self, row: Row) -> bool:
        there = "SELECT count(*) FROM (SELECT 1 FROM used WHERE width = ? AND at = ? LIMIT ?)"
        count: int = self._base.execute(there, (row.width, row.at, MOST_ROWS)).fetchone()[0]
        return count >= MOST_ROWS

    def rows(self, width: int, since: float) -> list[Row]:
        """The rows of a width that end after `since`."""
        wanted = self._base.execute(f"{_ROWS} WHERE width = ? AND at > ?", (width, since - width))
        return [_row(found) for found in wanted]

    def buckets(self) -> dict[str, bytes]:
        return dict(self._base.execute("SELECT name, state FROM buckets"))

    def prune(self, now: float) -> None:
        """Forget what is older than is kept."""
        with self._base:
            for width, kept in KEPT.items():
                self._base.execute("DELETE FROM used WHERE width = ? AND at < ?", (width, now - kept - width))


def _connected(path: Path | None) -> sqlite3.Connection:
    return sqlite3.connect(path or ":memory:", isolation_level=None, check_same_thread=False, timeout=1)


def _where(row: Row) -> tuple[int | str, ...]:
    place = row.place
    return (row.width, row.at, place.client, place.model, place.provider, place.route)


def _row(found: tuple[int, int, str, str, str, str, int, int, bytes]) -> Row:
    width, at, client, model, provider, route, errors, estimated, tally = found
    return Row(at, width, Place(client, model, provider, route), errors, estimated, _tallies.decode(tally))
