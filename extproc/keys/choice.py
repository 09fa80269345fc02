"""Which of a provider's keys to use now: throttled ones rest, failing ones are set aside.

Rule: decisions only, on a clock that is passed in and that nobody sets: `now` is monotonic seconds, the same for all
processes of a machine (Linux and macOS count from its start). One `Keys` is shared by all exchanges of a process and
outlives configurations; it knows keys by fingerprint, so nothing in it is a secret. Exchanges run in one thread, what
else is done with keys in another: whoever goes by the states and changes them holds the lock.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
import math
import threading

from extproc.providers.base import Provider
from extproc.terms import pauses

_LONGEST_REST = 3600.0
"""Seconds that a vendor's `retry-after` is believed."""


@dataclass(slots=True)
class _State:
    """`until`: when the key may be used again; infinite until a health check says otherwise."""

    failures: int = 0
    successes: int = 0
    until: float = 0.0


@dataclass(frozen=True, slots=True)
class Rest:
    """A key that is not to be used before `until` (monotonic seconds of this machine); 0: it is back before its time.
    `aside`: it failed too often; else its vendor asked for a pause."""

    provider: str
    fingerprint: str
    until: float
    aside: bool = False


def fingerprint(token: str) -> str:
    """What a key is known by outside of the request that carries it."""
    return sha256(token.encode()).hexdigest()[:16]


class Keys:
    """`on_rest`: is told of every key that is put to rest or comes back here, to tell people and other processes."""

    def __init__(self, on_rest: Callable[[Rest], None] = lambda rest: None) -> None:
        self._states: dict[tuple[str, str], _State] = {}
        self._lock = threading.Lock()
        self._on_rest = on_rest

    def choose(self, provider: Provider, chance: int, attempt: int, now: float) -> str | None:
        """The key for an attempt; None for a provider without keys. `chance` is the same for all attempts of a request
        and `attempt` counts from 1, so that they take turns. Where all keys rest, the one that soonest may work again.
        """
        tokens = [token.get_secret_value() for token in provider.tokens]
        if len(tokens) < 2:
            return tokens[0] if tokens else None
        start = chance % len(tokens)
        order = [*tokens[start:], *tokens[:start]]
        if self._states:
            ends = {token: self._until(provider, token) for token in order}
            order = [token for token in order if ends[token] <= now] or [min(order, key=ends.__getitem__)]
        return order[(attempt - 1) % len(order)]

    def _until(self, provider: Provider, token: str) -> float:
        state = self._states.get((provider.id, fingerprint(token)))
        if state is None or (math.isinf(state.until) and not _checks(provider)):  # nothing would ever bring it back
            return 0.0
        return state.until

    def resting(self, provider: Provider, now: float) -> int:
        """How many of a provider's keys rest or are set aside now; the only one is used all the same."""
        if not self._states:
            return 0
        with self._lock:
            return sum(self._until(provider, token.get_secret_value()) > now for token in provider.tokens)

    def report(
        self, provider: Provider, token: str, status: int, retry_after: str | None, now: float, date: float
    ) -> None:
        """What a vendor answered to a key. A 429 rests for its `retry-after`; beyond that `failover` decides. `date`:
        seconds since 1970, for a `retry-after` that is a date."""
        if status < 400 and not self._states:
            return
        with self._lock:
            pause = min(pauses.seconds(retry_after, date), _LONGEST_REST) if status == 429 else 0.0
            self._report(provider, token, status, pause, now)

    def pause(self, provider: Provider, token: str, seconds: float, now: float) -> None:
        """A vendor's refusal asks for a pause in its body, which comes after its status was reported."""
        known = (provider.id, fingerprint(token))
        until = now + min(seconds, _LONGEST_REST)
        with self._lock:
            if until > self._until(provider, token):
                self._states.setdefault(known, _State()).until = until
                self._on_rest(Rest(*known, until))

    def _report(self, provider: Provider, token: str, status: int, pause: float, now: float) -> None:
        policy = provider.failover
        known = (provider.id, fingerprint(token))
        current = self._until(provider, token)
        if status < 400:
            if current <= now:
                self._states.pop(known, None)
            return
        counts = policy is not None and policy.enabled and policy.counts(status)
        if not pause and not counts:
            return
        state = self._states.setdefault(known, _State())
        until, aside = now + pause, False
        if counts and policy is not None:
            state.failures += 1
            if state.failures >= policy.failure_threshold:
                state.failures = state.successes = 0
                until, aside = max(until, now + policy.pause), True
        if until > current:
            state.until = until
            self._on_rest(Rest(*known, until, aside))

    def rest(self, rest: Rest) -> None:
        """Somebody else put a key to rest, or saw it come back."""
        known = (rest.provider, rest.fingerprint)
        with self._lock:
            if not rest.until:
                self._states.pop(known, None)
                return
            state = self._states.setdefault(known, _State())
            state.until = max(state.until, rest.until)

    def set_aside(self, provider: Provider) -> Iterator[str]:
        """The keys of a provider that only a health check brings back."""
        for token in provider.tokens if self._states else ():
            if math.isinf(self._until(provider, token.get_secret_value())):
                yield token.get_secret_value()

    def checked(self, provider: Provider, token: str, healthy: bool) -> bool:
        """A health check's verdict on a key that is set aside; whether the key is back."""
        known = (provider.id, fingerprint(token))
        with self._lock:
            state = self._states.get(known)
            if state is None or provider.failover is None or not math.isinf(state.until):
                return False
            state.successes = state.successes + 1 if healthy else 0
            if state.successes < provider.failover.success_threshold:
                return False
            del self._states[known]
            self._on_rest(Rest(*known, 0.0))
        return True


def _checks(provider: Provider) -> bool:
    return provider.failover is not None and provider.failover.checks
