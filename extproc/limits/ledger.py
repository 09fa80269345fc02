"""A worker's side of limits: what it may give out by itself, what it reserved, and what it has to tell.

Rule: pure, and the caller's lock around it. Every reservation is settled once: whoever settles it again does nothing.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from msgspec import Struct

from extproc.limits.authority import Granted, Need, Report, Verdict
from extproc.limits.buckets import Spend
from extproc.limits.windows import Now, slot

LEASE_SECONDS: Final = 1.0
"""How long a lease may be used."""


class _Lease(Struct):
    room: int
    until: float
    used: int
    reset: float


class Reservation:
    """What one request has reserved. `asked`: of the authority, so its end is told at once."""

    __slots__ = ("asked", "needs", "running", "slots")

    def __init__(self, needs: Sequence[Need], slots: Sequence[int], *, asked: bool) -> None:
        self.needs = needs
        self.slots = slots
        self.asked = asked
        self.running: Spend | None = None
        """What is used so far, as far as it is known."""

    def deltas(self, spend: Spend | None) -> Iterator[tuple[str, int, int]]:
        """By how much less or more is used than was reserved, were it over now. `spend` None: what is known anyway."""
        for need, at in zip(self.needs, self.slots, strict=True):
            kind = need.bucket.kind
            if kind == "requests":
                continue
            actual = 0 if kind == "concurrent" else need.known if spend is None else spend.of(kind)
            if actual != need.amount:
                yield need.bucket.name, at, actual - need.amount


class Ledger:
    """Leases, and reservations that go on."""

    def __init__(self) -> None:
        self._leases: dict[str, _Lease] = {}
        self._going: set[Reservation] = set()
        self._moves: dict[tuple[str, int], int] = {}
        self._returned: dict[str, int] = {}
        self._said_open: tuple[tuple[str, int, int], ...] = ()
        self._heard: list[int] = []

    def reserve(self, needs: Sequence[Need], now: Now) -> tuple[Reservation, Verdict] | None:
        """By leases alone; None: the authority has to be asked."""
        leases = []
        for need in needs:
            lease = self._leases.get(need.bucket.name)
            if lease is None or lease.until <= now.ticks or lease.room < need.amount:
                return None
            leases.append(lease)
        slots = [slot(need.bucket, now) for need in needs]
        granted = []
        for need, lease, at in zip(needs, leases, slots, strict=True):
            granted.append(Granted(at, lease.used, lease.reset))
            if need.amount:
                lease.room -= need.amount
                lease.used += need.amount
                self._add(need.bucket.name, at, need.amount)
                self._returned[need.bucket.name] = self._returned.get(need.bucket.name, 0) + need.amount
        reservation = Reservation(needs, slots, asked=False)
        self._going.add(reservation)
        return reservation, Verdict(tuple(granted))

    def granted(self, id: int, needs: Sequence[Need], verdict: Verdict, now: Now) -> Reservation:
        """The authority said yes to a request of ours."""
        self._heard.append(id)
        for need, one in zip(needs, verdict.granted, strict=True):
            if one.lease:
                until, used = now.ticks + LEASE_SECONDS, one.used + need.amount
                self._leases[need.bucket.name] = _Lease(one.lease, until, used, one.reset)
        reservation = Reservation(needs, [one.slot for one in verdict.granted], asked=True)
        self._going.add(reservation)
        return reservation

    def settle(self, reservation: Reservation, spend: Spend | None) -> bool:
        """It is over, and used so much (None: what is known anyway). Whether that is to be told now."""
        if reservation not in self._going:
            return False
        self._going.discard(reservation)
        for move in reservation.deltas(spend):
            self._add(*move)
        return reservation.asked

    def _add(self, name: str, at: int, amount: int) -> None:
        self._moves[name, at] = self._moves.get((name, at), 0) + amount

    def recall(self, names: Sequence[str]) -> None:
        """Others need what is lent: give it back with the next report."""
        for name in names:
            self._return(name)

    def _return(self, name: str) -> None:
        if (lease := self._leases.pop(name, None)) is not None and lease.room:
            self._returned[name] = self._returned.get(name, 0) + lease.room

    def report(self, now: Now) -> Report | None:
        """What is to be told; None: nothing new."""
        for name in [name for name, lease in self._leases.items() if lease.until <= now.ticks]:
            self._return(name)
        open: dict[tuple[str, int], int] = {}
        for reservation in self._going:
            for name, at, amount in reservation.deltas(reservation.running):
                open[name, at] = open.get((name, at), 0) + amount
        said = tuple((name, at, amount) for (name, at), amount in open.items())
        if not (self._moves or self._returned or self._heard) and said == self._said_open:
            return None
        moves = tuple((name, at, amount) for (name, at), amount in self._moves.items() if amount)
        report = Report(tuple(self._heard), moves, tuple(self._returned.items()), said)
        self._heard, self._moves, self._returned, self._said_open = [], {}, {}, said
        return report
