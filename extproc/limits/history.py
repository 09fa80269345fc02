"""What was used, by time and by whom: rows that add up, in three widths.

Rule: pure. A row is a minute, an hour or a day (UTC) of one client, model, provider and route. Whoever asks gets the
finest rows that are kept for as long as it looks back.
"""

from collections.abc import Iterable, Sequence
from typing import Final, Literal

from msgspec import Struct, field
from msgspec.structs import replace

from extproc.terms.tallies import OTHER, Key, Tally

MINUTE: Final = 60
HOUR: Final = 3600
DAY: Final = 86_400

KEPT: Final = {MINUTE: DAY, HOUR: 60 * DAY, DAY: 730 * DAY}
"""How long rows of each width are kept, in seconds."""

MOST_ROWS: Final = 10_000
"""Rows of one width and one time; what comes beyond is counted without its model and route."""

By = Literal["time", "client", "model", "provider", "route"]


class Place(Struct, frozen=True, array_like=True):
    """Whose use a row is. `model`: the vendor's name, or the client's where none was asked. Empty: there is none."""

    client: str = ""
    model: str = ""
    provider: str = ""
    route: str = ""


class Row(Struct):
    """What was used in `width` seconds from `at` (seconds since 1970). `errors`: exchanges that did not end well, and
    `estimated`: whose tokens no vendor counted; both are among `tally.exchanges`."""

    at: int
    width: int
    place: Place
    errors: int = 0
    estimated: int = 0
    tally: Tally = field(default_factory=Tally)

    def merge(self, other: "Row") -> None:
        self.errors += other.errors
        self.estimated += other.estimated
        self.tally.merge(other.tally)


def rows(deltas: Iterable[tuple[Key, Tally]], now: float) -> list[Row]:
    """What was counted until now as rows of each width. Refusals of ours are among them: they are errors."""
    found: dict[tuple[int, Place], Row] = {}
    for key, tally in deltas:
        place = Place(key.client, key.sent or key.model, key.provider, key.route)
        errors = tally.exchanges if key.error or key.status not in ("2xx", "3xx") else 0
        estimated = tally.exchanges if key.estimated else 0
        for width in KEPT:
            row = found.get((width, place))
            if row is None:
                row = found[width, place] = Row(int(now // width) * width, width, place)
            row.merge(Row(row.at, width, place, errors, estimated, tally))
    return list(found.values())


def bounded(row: Row) -> Row:
    """A row of one place too many."""
    return replace(row, place=Place(row.place.client, OTHER, row.place.provider, OTHER))


def width_for(since: float, now: float) -> int:
    """The finest width of rows that reach back to `since`."""
    return next((width for width, kept in KEPT.items() if now - since <= kept), DAY)


def grouped(found: Iterable[Row], by: Sequence[By], width: int) -> list[Row]:
    """The rows summed up by some of what they are told apart by; what is not named is empty. By time: `width` seconds
    together, in order; else the most used first."""
    sums: dict[tuple[int, Place], Row] = {}
    for row in found:
        at = row.at // width * width if "time" in by else 0
        place = Place(*(getattr(row.place, name) if name in by else "" for name in Place.__struct_fields__))
        if (at, place) not in sums:
            sums[at, place] = Row(at, width, place)
        sums[at, place].merge(row)
    return sorted(sums.values(), key=lambda row: (row.at, -row.tally.exchanges, str(row.place)))
