"""What is so now, as `/metrics` says it over HTTP."""

import json
from pathlib import Path
from typing import Any, cast

import aiohttp
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics

from extproc import __version__
from extproc.limits.authority import Need
from extproc.supervisor import admin
from extproc.supervisor.books import Books
from extproc.supervisor.contexts import keeping
from extproc.supervisor.gauges import Gauges
from extproc.supervisor.live import Live, NoEnvoy, Source
from extproc.supervisor.quotas import Quotas
from extproc.supervisor.supervisor import Workers
from extproc.worker.channel import Counted
from extproc.worker.places import Tls
from tests.unit.limits.test_windows import bucket
from tests.unit.supervisor.test_certificates import EARLY, LATE, certificate


class FakeWorkers:
    serving = 2
    recycle = None

    def __init__(self) -> None:
        self.quotas = Quotas(None)

    async def expect(self, load: object) -> None: ...

    async def apply(self, load: object) -> None: ...


def write(path: Path, **more: Any) -> None:
    provider = {
        "type": "openai",
        "apiTokens": ["sk-1", "sk-2", "sk-3"],
        "tls": {"caFile": "ca.pem"},
        "models": ["listed"],
        "modelMapping": {"asked": "target", "glob*": "", "~x": "made"},
    }
    route = {
        "name": "r",
        "match": {"models": ["exact", "pattern*"]},
        "provider": [{"provider": "openai", "model": "s"}],
    }
    path.write_text(json.dumps({"providers": [provider], "routes": [route], **more}))


async def test_what_is_so_now(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("ca.pem", "cert.pem", "client.pem")]
    for file in files:
        file.write_bytes(certificate(LATE) + certificate(EARLY))
    path = tmp_path / "config.yaml"
    write(path)
    live, books = Live(Source(path, {})), Books()
    workers = cast(Workers, FakeWorkers())
    gauges = Gauges(live, workers, books, Tls(files[1], tmp_path / "cert.key", files[2]))
    books.gauges.append(gauges.families)
    assert books.models == {"listed", "asked", "target", "exact", "s"}
    books.count(7, Counted([], 4, {"openai": 2}))
    path.write_text("nonsense: [")
    async with keeping(lambda _: None) as texts:
        await live.change(set(), texts, workers, NoEnvoy(live.loaded))
        write(path, clients=[{"name": "alice", "key": "k" * 20, "models": ["hers"]}])
        await live.change(set(), texts, workers, NoEnvoy(live.loaded))
    gauges.follow()
    assert "hers" in books.models
    workers.quotas.wanted(1, [Need(bucket("day", limit=100), 25)], lambda verdict: None, lambda whose, names: None)
    async with (
        admin.serving("127.0.0.1", 0, lambda: None, dict, families=books.families) as port,
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session,
    ):
        async with session.get("/metrics", headers={"accept": "application/openmetrics-text"}) as answer:
            assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
            text = await answer.text()
        async with session.get("/metrics") as answer:
            assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
            assert "ai_proxy_open{} 4\n" in await answer.text()
    said = {(s.name, *s.labels.values()): s.value for family in openmetrics(text) for s in family.samples}
    assert said == {
        ("ai_proxy_open",): 4,
        ("ai_proxy_build", __version__): 1,
        ("ai_proxy_workers",): 2,
        ("ai_proxy_limit_used", "x day", "all", "tokens", "day"): 0.25,
        ("ai_proxy_limit_uncounted_total",): 0,
        ("ai_proxy_usage_store_failing",): 0,
        ("ai_proxy_config_generation",): 2,
        ("ai_proxy_config_problems",): 0,
        ("ai_proxy_config_refused_total",): 1,
        ("ai_proxy_keys", "openai", "in_service"): 1,
        ("ai_proxy_keys", "openai", "resting"): 2,
        ("ai_proxy_certificate_expiry_timestamp_seconds", str(files[0])): LATE.timestamp(),
        ("ai_proxy_certificate_expiry_timestamp_seconds", str(files[1])): EARLY.timestamp(),
        ("ai_proxy_certificate_expiry_timestamp_seconds", str(files[2])): LATE.timestamp(),
    }
