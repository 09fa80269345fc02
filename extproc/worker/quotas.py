"""The limits of use as the exchanges of a process meet them: most are let through by leases at once, the others wait
for the supervisor's word.

Rule: exchanges come from other threads than the event loop's, so everything of the ledger is under one lock, and all
that is said to the supervisor is said by the loop. What does not come back in time goes by `onFailure`.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
import threading
import time
from typing import TYPE_CHECKING, Final

import structlog

from extproc.config.config import Config
from extproc.exchange.states import Record
from extproc.limits.asking import Ask, headers, refusal
from extproc.limits.authority import Need, Verdict
from extproc.limits.buckets import Spend, units
from extproc.limits.ledger import Ledger, Reservation
from extproc.limits.windows import Now
from extproc.providers.blocks import Redis
from extproc.terms.errors import ProxyError
from extproc.worker import channel

if TYPE_CHECKING:
    from extproc.worker.shared_quotas import Shared, SharedQuotas

log = structlog.get_logger("extproc.quotas")

REPORT_SECONDS: Final = 0.5
"""How often the supervisor is told what became of leases: what a dead worker did not tell counts whole."""
_GLANCE: Final = 1.0
"""Seconds between looks at whether the configuration names another Redis."""
PATIENCE: Final = 2.0
"""Seconds that a request waits for the supervisor's word."""

Then = Callable[["Held | ProxyError"], None]


@dataclass(eq=False, slots=True)
class Held:
    """What an exchange holds of its limits until it is over. `headers`: for its answer. `reservation`: of this machine,
    `shared`: of all; neither: let through unasked, or not known yet."""

    record: Record
    ask: Ask
    headers: dict[str, str] = field(default_factory=dict)
    reservation: Reservation | None = None
    shared: "Shared | None" = None
    over: bool = False


def spent(held: Held) -> Spend | None:
    """What an exchange used until now, as far as it is known; None: no more than is known anyway."""
    record = held.record
    usage = record.usage
    if usage.prompt_tokens is None and usage.completion_tokens is None:
        refused = record.error is not None and record.complete
        return Spend() if refused else None
    money = {} if record.cost is None else {(record.currency or "").lower(): units(record.cost)}
    return Spend(usage.prompt_tokens or 0, usage.completion_tokens or 0, money)


class Quotas:
    """`report`: the supervisor's end. `on_failure`: gives what the configuration says now. `shared`: who keeps limits
    for several machines, where somebody does."""

    def __init__(self, report: channel.Writer, on_failure: Callable[[], str]) -> None:
        self._report = report
        self._on_failure = on_failure
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._ledger = Ledger()
        self._waiting: dict[int, tuple[Held, Sequence[Need], Then | None]] = {}
        self._held: set[Held] = set()
        self._last = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self.shared: SharedQuotas | None = None
        self.started = asyncio.Event()
        """Set once those who keep limits for several machines were asked, or there are none."""

    # Called by exchanges

    def reserve(self, ask: Ask, record: Record, then: Then) -> "Held | ProxyError | None":
        """What an exchange holds from now on, or why it must not go on. None: `then` is told, by the loop's thread."""
        needs = ask.needs()
        held = Held(record, ask)
        with self._lock:
            self._held.add(held)
            if self.shared is not None:
                self._loop.call_soon_threadsafe(self._begin, held, needs, then)
                return None
            if (found := self._ledger.reserve(needs, _now())) is not None:
                held.reservation, verdict = found
                held.headers = headers(needs, verdict)
                return held
        self._loop.call_soon_threadsafe(self._ask, held, needs, then)
        return None

    def settle(self, held: Held) -> None:
        """The exchange is over. Called again it does nothing."""
        with self._lock:
            if held.over:
                return
            held.over = True
            self._held.discard(held)
            prompt = held.reservation is not None and self._ledger.settle(held.reservation, spent(held))
            shared, used = held.shared, spent(held)
        if prompt:
            self._loop.call_soon_threadsafe(self.tell)
        if shared is not None and self.shared is not None:
            self._loop.call_soon_threadsafe(self.shared.settle, shared, used)

    # Called by the loop

    def _begin(self, held: Held, needs: list[Need], then: Then) -> None:
        task = asyncio.create_task(self._share(held, needs, then))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _share(self, held: Held, needs: list[Need], then: Then) -> None:
        """Ask those who keep limits for several machines. While they are away, by `onFailure`."""
        shared = self.shared
        if shared is None or shared.away is not None:
            self._without(held, needs, then)
            return
        try:
            verdict, found = await shared.reserve(needs, lambda: spent(held))
        except Exception as error:
            if not isinstance(error, shared.faults):
                log.exception("limits could not be asked: a fault of ours")
            self._without(held, needs, then)
            return
        outcome: Held | ProxyError = held
        with self._lock:
            if found is None:
                self._held.discard(held)
                outcome = refusal(verdict)
            else:
                held.shared, held.headers = found, headers(needs, verdict)
            over = held.over
        if over and found is not None:
            shared.settle(found, spent(held))
        then(outcome)

    def _without(self, held: Held, needs: Sequence[Need], then: Then) -> None:
        match self._on_failure():
            case "local":
                self._ask(held, needs, then)
            case "refuse":
                with self._lock:
                    self._held.discard(held)
                then(refusal(Verdict()))
            case _:
                then(held)

    def _ask(self, held: Held, needs: Sequence[Need], then: Then) -> None:
        with self._lock:
            self._last += 1
            id = self._last
            self._waiting[id] = held, needs, then
            self._ledger.recall([need.bucket.name for need in needs])
        self.tell()
        channel.send(self._report, channel.Wanted(id, tuple(needs)))
        self._loop.call_later(PATIENCE, self._late, id)

    def judged(self, id: int, verdict: Verdict) -> None:
        """The supervisor's word."""
        with self._lock:
            held, needs, then = self._waiting.pop(id)
            outcome: Held | ProxyError = held
            prompt = False
            if verdict.granted:
                held.reservation = self._ledger.granted(needs, verdict, _now())
                held.headers = headers(needs, verdict)
                prompt = held.over and self._ledger.settle(held.reservation, spent(held))  # nobody waited any more
            elif verdict.by is None and self._on_failure() != "refuse":
                pass  # it goes on, and nobody counts it
            else:
                outcome = refusal(verdict)
                self._held.discard(held)
        if prompt:
            self.tell()
        if then is not None:
            then(outcome)

    def _late(self, id: int) -> None:
        """No word: the request goes on, or not; what the supervisor says later still counts."""
        with self._lock:
            if (waiting := self._waiting.get(id)) is None:
                return
            held, needs, then = waiting
            self._waiting[id] = held, needs, None
        if then is None:
            return
        if self._on_failure() == "refuse":
            with self._lock:
                held.over = True
                self._held.discard(held)
            then(refusal(Verdict()))
        else:
            then(held)

    def recall(self, names: Sequence[str]) -> None:
        """Others need what is lent here."""
        with self._lock:
            self._ledger.recall(names)
        self.tell()

    def tell(self) -> None:
        """Say what is new."""
        with self._lock:
            for held in self._held:
                if held.reservation is not None:
                    held.reservation.running = spent(held)
            report = self._ledger.report(_now())
        if report is not None:
            channel.send(self._report, channel.Spent(report))

    def leave(self) -> None:
        """Say the last: no exchange goes on."""
        with self._lock:
            self._ledger.leave()
        self.tell()

    async def run(self) -> None:
        """Say it again and again."""
        while True:
            await asyncio.sleep(REPORT_SECONDS)
            self.tell()

    async def share(self, wanted: Callable[[], Redis | None]) -> None:
        """Have limits kept for several machines, as the configuration says, whatever it says later."""
        while True:
            block = wanted()
            if block is not None:
                from extproc.worker import shared_quotas  # an optional dependency, missed when a file is loaded

                async with shared_quotas.sharing(block, self._away) as shared:
                    self.shared = shared
                    try:
                        await self._until_other(wanted, block)
                    finally:
                        self.shared = None
                        self._away(None)
            else:
                await self._until_other(wanted, block)

    async def _until_other(self, wanted: Callable[[], Redis | None], block: Redis | None) -> None:
        self.started.set()
        while wanted() == block:  # noqa: ASYNC110  the configuration is asked, it tells nobody
            await asyncio.sleep(_GLANCE)

    def _away(self, reason: str | None) -> None:
        channel.send(self._report, channel.StoreAway(reason))


def shared_store(config: Config) -> Redis | None:
    """Where limits are kept for several machines; None where each keeps its own."""
    return config.redis if config.shares_limits else None


def _now() -> Now:
    return Now(time.monotonic(), time.time())
