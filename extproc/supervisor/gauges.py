"""Metrics of what is so now: processes, configuration, keys, certificates.

Rule: made when somebody looks, from what others know.
"""

from collections.abc import Iterator
from pathlib import Path
import time

from extproc import __version__
from extproc.config.names import mentioned_models
from extproc.supervisor import semconv
from extproc.supervisor.books import Books
from extproc.supervisor.certificates import expiry
from extproc.supervisor.families import Family, counter, gauge
from extproc.supervisor.live import Live
from extproc.supervisor.supervisor import Workers
from extproc.worker.places import Tls

LOOK_SECONDS = 60.0
"""How often certificates' files are read, at most."""


MOST_LIMITS = 1000
"""Limits that are shown, those of which most is used."""


class Gauges:
    """`tls`: of the workers' port."""

    def __init__(self, live: Live, workers: Workers, books: Books, tls: Tls | None) -> None:
        self._live = live
        self._workers = workers
        self.books = books
        self._tls = tls
        self._ends: dict[str, float | None] = {}
        self._looked = -LOOK_SECONDS
        self.follow()

    def follow(self) -> None:
        """The configuration may be another one: which names it mentions, whose words it wants."""
        config = self._live.loaded.config
        self.books.models = mentioned_models(config)
        self.books.semconv = config.telemetry.semconv
        self.books.vendors = {p.id: semconv.VENDORS.get(p.type, p.type) for p in config.providers}

    def families(self) -> Iterator[Family]:
        """All of them, as they are now."""
        build = gauge("ai_proxy.build", "Which version this is.", "version")
        build.show((__version__,), 1)
        workers = gauge("ai_proxy.workers", "Worker processes that serve.")
        workers.show((), self._workers.serving)
        generation = gauge("ai_proxy.config.generation", "Which configuration since the start is served.")
        generation.show((), self._live.generation)
        wrong = gauge("ai_proxy.config.problems", "What is wrong with the files, if they were refused.")
        wrong.show((), len(self._live.refused))
        refused = counter("ai_proxy.config.refused", "Changes of the configuration that were refused.")
        refused.show((), self._live.refusals)
        yield from (build, workers, generation, wrong, refused, self._keys(), *self._limits())
        if ends := self._certificates():
            yield ends

    def _limits(self) -> Iterator[Family]:
        quotas = self._workers.quotas
        names = ("limit", "whose", "kind", "per")
        used = gauge("ai_proxy.limit.used", "What of a limit is used or reserved; 1: all of it.", *names)
        fullest = sorted(quotas.fills(), key=lambda fill: -fill.used / fill.bucket.limit)
        for fill in fullest[:MOST_LIMITS]:
            bucket = fill.bucket
            used.show((bucket.name, bucket.whose, bucket.kind, bucket.per or ""), fill.used / bucket.limit)
        failing = gauge(
            "ai_proxy.usage.store.failing",
            "1 while what was used or is left cannot be kept.",
        )
        failing.show((), int(quotas.failing is not None))
        uncounted = counter("ai_proxy.limit.uncounted", "Requests that went by onFailure while the store failed.")
        uncounted.show((), quotas.uncounted)
        yield from (used, failing, uncounted)

    def _keys(self) -> Family:
        keys = gauge("ai_proxy.keys", "A provider's keys.", "provider", "state")
        for provider in self._live.loaded.config.providers:
            resting = self.books.resting(provider.id)
            keys.show((provider.id, "in_service"), max(len(provider.tokens) - resting, 0))
            keys.show((provider.id, "resting"), resting)
        return keys

    def _certificates(self) -> Family | None:
        authorities = {provider.tls.ca_file for provider in self._live.loaded.config.providers if provider.tls.ca_file}
        files = dict.fromkeys(authorities, True)
        if self._tls is not None:
            files |= {str(self._tls.client_ca): True, str(self._tls.certificate): False}
        now = time.monotonic()
        if now - self._looked >= LOOK_SECONDS or files.keys() != self._ends.keys():
            self._looked = now
            self._ends = {file: expiry(Path(file), authorities=several) for file, several in files.items()}
        about = "When a file's certificates are valid no longer, in seconds since 1970."
        family = gauge("ai_proxy.certificate.expiry.timestamp", about, "file", unit="s")
        for file, end in self._ends.items():
            if end is not None:
                family.show((file,), end)
        return family if family.values else None
