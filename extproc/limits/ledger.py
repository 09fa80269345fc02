"""A worker's side of limits: what it may give out by itself, what it reserved, and what it has to tell.

Rule: pure, and the caller's lock around it. Every reservation is settled once: whoever settles it again does nothing.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from msgspec import Struct

from extproc.limits.authority import LEASE_SECONDS, Granted, Need, Report, Verdict
from extproc.limits.buckets import Spend
from extproc.limits.windows import Now, slot


class _Lease(Struct):
    room: int
    until: float
    used: int
    reset: float


_NO_MORE: Final[Mapping[int, int]] = {}


class Reservation:
    """What one request has reserved. `asked`: of the authority, so its end is told at once. `running`: what is used so
    far, as far as it is known."""

    __slots__ = ("_more", "asked", "needs", "running", "slots")

    def __init__(self, needs: Sequence[Need], slots: Sequence[int], *, asked: bool) -> None:
        self.needs = needs
        self.slots = slots
        self.asked = asked
        self.running: Spend | None = None
        self._more = _NO_MORE

    def deltas(self, spend: Spend | None) -> Iterator[tuple[str, int, int]]:
        """It is over: by how much less or more is used than counts. `spend` None: what is known anyway."""
        for number, (need, at) in enumerate(zip(self.needs, self.slots, strict=True)):
            kind = need.bucket.kind
            if kind == "requests":
                continue
            actual = 0 if kind == "concurrent" else need.known if spend is None else spend.of(kind)
            counts = need.amount + self._more.get(number, 0) if self._more else need.amount
            if actual != counts:
                yield need.bucket.name, at, actual - counts

    def excess(self) -> Iterator[tuple[str, int, int]]:
        """By how much more is used so far than counts; from now on it does."""
        if self.running is None:
            return
        for number, (need, at) in enumerate(zip(self.needs, self.slots, strict=True)):
            more = self.running.of(need.bucket.kind) - need.amount - self._more.get(number, 0)
            if more > 0 and need.bucket.kind != "requests":
                self._more = {**self._more, number: self._more.get(number, 0) + more}
                yield need.bucket.name, at, more


class Ledger:
    """Leases, and reservations that go on."""

    def __init__(self) -> None:
        self._leases: dict[str, _Lease] = {}
        self._going: set[Reservation] = set()
        self._moves: dict[tuple[str, int], int] = {}
        self._returned: dict[str, int] = {}

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

    def granted(self, needs: Sequence[Need], verdict: Verdict, now: Now) -> Reservation:
        """The authority said yes to a request of ours."""
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

    def leave(self) -> None:
        """Nothing more will be reserved: give all back with the next report."""
        self.recall(list(self._leases))

    def _return(self, name: str) -> None:
        if (lease := self._leases.pop(name, None)) is not None and lease.room:
            self._returned[name] = self._returned.get(name, 0) + lease.room

    def report(self, now: Now) -> Report | None:
        """What is to be told; None: nothing new."""
        for name in [name for name, lease in self._leases.items() if lease.until <= now.ticks]:
            self._return(name)
        for reservation in self._going:
            for move in reservation.excess():
                self._add(*move)
        if not (self._moves or self._returned):
            return None
        moves = tuple((name, at, amount) for (name, at), amount in self._moves.items() if amount)
        report = Report(moves, tuple(self._returned.items()))
        self._moves, self._returned = {}, {}
        return report
