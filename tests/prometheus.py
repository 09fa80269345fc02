"""A real Prometheus, from the machine (Debian's package); without one its tests are skipped, but not where CI says
that there is one."""

from collections.abc import Iterator
import contextlib
import json
import os
from pathlib import Path
import shutil
import subprocess
from typing import Any
from urllib.parse import urlencode
import urllib.request

import pytest

from tests.contract import processes


def program(name: str) -> str:
    if (found := shutil.which(name)) is None:
        assert not os.environ.get("REQUIRE_PROMETHEUS"), f"{name} is not installed"
        pytest.skip(f"{name} is not installed")
    return found


def promtool() -> str:
    return program("promtool")


class Prometheus:
    def __init__(self, url: str) -> None:
        self._url = url

    def get(self, path: str, **query: str) -> Any:
        """The `data` of an answer of its API; None while there is none."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with contextlib.suppress(OSError), opener.open(f"{self._url}/api/v1/{path}?{urlencode(query)}") as answer:
            document = json.load(answer)
            assert document["status"] == "success", document
            return document["data"]
        return None

    def value(self, expression: str) -> float | None:
        """The sum of what an expression gives."""
        found = (self.get("query", query=expression) or {}).get("result", ())
        return sum(float(sample["value"][1]) for sample in found) if found else None


@contextlib.contextmanager
def prometheus(directory: Path, target: str, rules: Path) -> Iterator[Prometheus]:
    """Scrapes `target`'s `/metrics` every second until the end of the block."""
    directory.mkdir(parents=True, exist_ok=True)
    config = directory / "prometheus.yml"
    job = {"job_name": "ai-proxy", "scrape_interval": "1s", "static_configs": [{"targets": [target]}]}
    document = {"global": {"evaluation_interval": "1s"}, "rule_files": [str(rules)], "scrape_configs": [job]}
    config.write_text(json.dumps({**document, "scrape_configs": [{**job, "scrape_timeout": "1s"}]}))
    port = processes.free_port()
    command = [program("prometheus"), f"--config.file={config}", f"--storage.tsdb.path={directory / 'data'}"]
    with (directory / "log").open("wb") as log:
        running = subprocess.Popen([*command, f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log)
    try:
        yield Prometheus(f"http://127.0.0.1:{port}")
    finally:
        running.terminate()
        running.wait()
