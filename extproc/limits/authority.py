"""What is left of every bucket, for all workers of a machine: who may go on, and what was used in the end.

Rule: pure, one thread. A request goes on where less than the limit counts in each of its buckets, so never more than
limit and one reservation is let through. What a worker may give out by itself (a lease) counts as used until it says
what became of it. Nobody knows what a dead one did at last: all that it reserved, and was lent, stays used.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from msgspec import Struct, field, msgpack

from extproc.limits.buckets import Bucket
from extproc.limits.windows import PARTS, SLIDING, Now, counts, is_over, slot, wait

LEASE_SECONDS: Final = 1.0
"""How long a lease may be used."""
SHARE: Final = 16
"""The part of what is left that is lent to a worker at most."""
FIRST: Final = 4
"""Requests for which a worker is lent at first: what a dead one was lent counts, so it is no more than it may need."""
MOST: Final = 20_000
"""Buckets: names of models are their clients' own words. Beyond, those that were used least lately are forgotten."""
STEPS: Final = (0.9, 0.95, 1.0)
"""Shares that are told of, beside `warnAt`."""
AGAIN: Final = 3600.0
"""Seconds until a step of a sliding time is told of again."""


class Need(Struct, frozen=True, array_like=True):
    """So much of a bucket. `known`: what of it is used in any case. `forced`: what was granted before, to an earlier
    attempt."""

    bucket: Bucket
    amount: int
    known: int = 0
    forced: bool = False


class Granted(Struct, frozen=True, array_like=True):
    """Of one need. `slot`: where it is counted. `used`: what counts beside it. `reset`: seconds until
    nothing counts any more. `lease`: what the worker may give out by itself."""

    slot: int
    used: int
    reset: float
    lease: int = 0


class Verdict(Struct, frozen=True, array_like=True):
    """`granted`: for each need. Where it is empty, `by` is the bucket that refuses, which has room in `wait` seconds;
    `used`: what counts of it. None refuses: it is not known what is left."""

    granted: tuple[Granted, ...] = ()
    by: Bucket | None = None
    wait: float = 0.0
    used: int = 0


class Report(Struct, frozen=True, array_like=True):
    """What a worker did since its last one. `moves`: what was reserved by leases, and by how much less or more was used
    than was reserved: bucket, slot, amount. `returned`: what was lent and is not any more: bucket, amount."""

    moves: tuple[tuple[str, int, int], ...] = ()
    returned: tuple[tuple[str, int], ...] = ()


class Step(Struct, frozen=True):
    """A share of a bucket is used that whoever pays wants to know of."""

    bucket: Bucket
    share: float


class Fill(Struct, frozen=True):
    """What is left of a bucket; `reset`: seconds until it has room, or more of it."""

    bucket: Bucket
    used: int
    reset: float


class _State(Struct):
    """`slots`: what is used, by when; of what is limited at a time by who has it. `lent`: to whom;
    `leases`: how much of late, and when."""

    bucket: Bucket
    slots: dict[int, int] = field(default_factory=dict)
    lent: dict[int, int] = field(default_factory=dict)
    leases: dict[int, tuple[int, float]] = field(default_factory=dict)
    told: tuple[float, int, float] = (0.0, 0, 0.0)
    """The highest step that was told of, in which period, when."""


class _Kept(Struct, array_like=True):
    """How a state is written. `slots`: of sliding times by when they begin, in seconds since 1970."""

    bucket: Bucket
    slots: list[tuple[float, int]]


_kept: Final = msgpack.Decoder(_Kept)


class Authority:
    """`who`: a number that each worker has alone, also among those that were."""

    def __init__(self) -> None:
        self._states: dict[str, _State] = {}
        self._dirty: set[str] = set()
        self._steps: list[Step] = []

    def reserve(self, needs: Sequence[Need], now: Now, who: int, *, last: bool = True) -> Verdict:
        """Reserve in every bucket, or in none. `last`: a refusal is final."""
        states = [self._state(need.bucket, now) for need in needs]
        used = [self._used(state, now) for state in states]
        full = [
            (wait(state.bucket, state.slots, state.bucket.limit - self._lent(state), now), state, count)
            for need, state, count in zip(needs, states, used, strict=True)
            if count >= state.bucket.limit and not need.forced and not state.bucket.shadow
        ]
        for state, count in zip(states, used, strict=True) if last or not full else ():
            self._note(state, count, now)
        if full:
            pause, state, count = max(full, key=lambda one: one[0])
            return Verdict(by=state.bucket, wait=pause, used=count)
        return Verdict(tuple(self._grant(*each, now, who) for each in zip(needs, states, used, strict=True)))

    def _grant(self, need: Need, state: _State, used: int, now: Now, who: int) -> Granted:
        at = who if state.bucket.per is None else slot(state.bucket, now)
        if need.amount:
            state.slots[at] = state.slots.get(at, 0) + need.amount
        lease = 0
        if state.bucket.per not in (None, "second") and not state.lent.get(who):
            lease = self._lease(state, need.amount, used, now, who)
        if need.amount or lease:
            self._dirty.add(state.bucket.name)
        return Granted(at, used, wait(state.bucket, state.slots, 1, now), lease)

    def _lease(self, state: _State, amount: int, used: int, now: Now, who: int) -> int:
        """Twice as much as before for who used that within its time, else half as much."""
        share = (state.bucket.limit - used - amount) // SHARE
        if share < 2 * max(amount, 1):
            return 0
        before, when = state.leases.get(who, (0, 0.0))
        wanted = before * 2 if now.ticks - when < LEASE_SECONDS else before // 2
        lease = min(share, max(wanted, FIRST * amount, FIRST))
        state.leases[who] = lease, now.ticks
        state.lent[who] = lease
        return lease

    def lends(self, needs: Iterable[Need], but: int) -> set[int]:
        """The workers to which something of these buckets is lent."""
        states = (self._states.get(need.bucket.name) for need in needs)
        return {who for state in states if state is not None for who, amount in state.lent.items() if amount} - {but}

    def report(self, report: Report, now: Now, who: int) -> None:
        """What a worker did."""
        for name, amount in report.returned:
            if (state := self._states.get(name)) is not None:
                state.lent[who] = max(state.lent.get(who, 0) - amount, 0)
                self._dirty.add(name)
        self._move(report.moves, now)

    def undo(self, needs: Sequence[Need], verdict: Verdict, now: Now, who: int) -> None:
        """A verdict that its worker will not hear of."""
        pairs = list(zip((need.bucket.name for need in needs), needs, verdict.granted, strict=True))
        moves = tuple((name, one.slot, -need.amount) for name, need, one in pairs)
        self.report(Report(moves, tuple((name, one.lease) for name, _, one in pairs if one.lease)), now, who)

    def gone(self, who: int, now: Now) -> None:
        """A worker is dead: what was lent to it may all be used, and what it had at a time is free again."""
        for name, state in self._states.items():
            state.leases.pop(who, None)
            if lent := state.lent.pop(who, 0):
                self._move(((name, slot(state.bucket, now), lent),), now)
            if state.bucket.per is None:
                state.slots.pop(who, None)

    def _move(self, moves: Iterable[tuple[str, int, int]], now: Now) -> None:
        for name, at, amount in moves:
            state = self._states.get(name)
            if state is None:
                continue
            if is_over(state.bucket, at, now):
                if amount <= 0:
                    continue
                at = slot(state.bucket, now)  # more than was reserved, known only now
            state.slots[at] = max(state.slots.get(at, 0) + amount, 0)
            self._dirty.add(name)

    def _state(self, bucket: Bucket, now: Now) -> _State:
        state = self._states.pop(bucket.name, None)
        if state is None:
            state = _State(bucket)
            if len(self._states) >= MOST:
                forgotten = next(iter(self._states))
                del self._states[forgotten]
                self._dirty.add(forgotten)
        elif state.bucket is not bucket:
            state.bucket = bucket  # the amount may have changed
        self._states[bucket.name] = state
        for at in [at for at in state.slots if is_over(bucket, at, now)]:
            del state.slots[at]
        return state

    def _used(self, state: _State, now: Now) -> int:
        return counts(state.bucket, state.slots, now) + self._lent(state)

    def _lent(self, state: _State) -> int:
        return sum(state.lent.values()) if state.lent else 0

    def _note(self, state: _State, used: int, now: Now) -> None:
        bucket = state.bucket
        share = (used - self._lent(state)) / bucket.limit
        if share < bucket.warn_at:
            return
        step = max((step for step in STEPS if bucket.warn_at <= step <= share), default=bucket.warn_at)
        told, period, when = state.told
        current = 0 if bucket.per in SLIDING or bucket.per is None else slot(bucket, now)
        if current != period or (current == 0 and now.ticks - when >= AGAIN):
            told = 0.0
        if step > told:
            state.told = step, current, now.ticks
            self._steps.append(Step(bucket, share))

    def steps(self) -> list[Step]:
        """Whose little is left, since this was last asked."""
        steps, self._steps = self._steps, []
        return steps

    def fills(self, now: Now) -> Iterator[Fill]:
        """Every bucket of which something is used."""
        for state in self._states.values():
            used = counts(state.bucket, state.slots, now)
            if used:
                yield Fill(state.bucket, used, wait(state.bucket, state.slots, used, now))

    def reset(self, client: str) -> list[str]:
        """Forget what a client used, in every bucket that is its own; gives their names."""
        names = [n for n, s in self._states.items() if is_of(s.bucket.whose, client) and any(s.slots.values())]
        for name in names:
            self._states[name].slots.clear()
            self._states[name].told = (0.0, 0, 0.0)
            self._dirty.add(name)
        return names

    # What is kept beyond this process

    @property
    def dirty(self) -> bool:
        """Whether there is something for `changed` to give."""
        return bool(self._dirty)

    def changed(self, now: Now) -> dict[str, bytes | None]:
        """The buckets that changed since this was last asked, as `restore` takes them: with all that was lent."""
        dirty, self._dirty = self._dirty, set()
        return {name: self._written(self._states.get(name), now) for name in dirty}

    def counts_later(self, needs: Iterable[Need]) -> bool:
        """Whether what was just reserved must outlive this process. Of seconds it need not: none starts so soon."""
        return any(need.bucket.per not in (None, "second") and need.bucket.name in self._dirty for need in needs)

    def again(self, names: Iterable[str]) -> None:
        """These could not be kept: they are still changed."""
        self._dirty.update(names)

    def _written(self, state: _State | None, now: Now) -> bytes | None:
        if state is None or (bucket := state.bucket).per is None:
            return None
        kept = {at: amount for at, amount in state.slots.items() if amount}
        if lent := self._lent(state):
            latest = slot(bucket, Now(now.ticks + LEASE_SECONDS, now.date + LEASE_SECONDS))
            kept[latest] = kept.get(latest, 0) + lent
        if not kept:
            return None
        length = SLIDING.get(bucket.per or "", 0.0) / PARTS
        shift = now.date - now.ticks if length else 0.0
        return msgpack.encode(_Kept(bucket, [(at * (length or 1) + shift, amount) for at, amount in kept.items()]))

    def restore(self, kept: Mapping[str, bytes], now: Now) -> None:
        """What an earlier process left behind. Where the clock was put back since, no time has passed."""
        for name, written in kept.items():
            found = _kept.decode(written)
            state = self._states.setdefault(name, _State(found.bucket))
            length = SLIDING.get(found.bucket.per or "", 0.0) / PARTS
            for date, amount in found.slots:
                at = int((now.ticks - max(now.date - date, 0.0)) // length) if length else int(date)
                state.slots[at] = state.slots.get(at, 0) + amount


def is_of(whose: str, client: str) -> bool:
    """Whether a bucket is a client's own, by whose it says it is."""
    return whose == f"client {client}" or whose.endswith(f", client {client}")
