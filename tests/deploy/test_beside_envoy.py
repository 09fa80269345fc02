"""deploy/beside-envoy: what it starts, what it puts beside Envoy, and that a mistake stops it.

The script runs with its directories elsewhere, a fake `extproc`, and never as root, whom no directory is closed to.
"""

from collections.abc import Iterator
from dataclasses import dataclass
import http.server
import os
from pathlib import Path
import shutil
import subprocess
import tempfile
import threading

import pytest

from tests.contract.processes import ROOT

EXTPROC = """#!/bin/sh
echo "$@" >>"$CALLS"
[ "$1" = serve ] || ! [ -e "$BROKEN" ] || { echo half; exit 2; }
[ "$1" = serve ] || echo bootstrap
"""
NOBODY = 65532


@dataclass
class Beside:
    directory: Path

    @property
    def config(self) -> Path:
        return self.directory / "etc"

    @property
    def shared(self) -> Path:
        return self.directory / "run"

    def run(self, *options: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """The script to its end; the fake `extproc serve` ends at once."""
        places = {"PATH": f"{self.directory}/bin:/usr/bin:/bin", "CALLS": f"{self.directory}/run/calls"}
        command = [f"{self.directory}/bin/beside-envoy", *options]
        environ = {**places, "BROKEN": f"{self.directory}/broken", **environ}
        lower = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
        return subprocess.run(command, env=environ, cwd="/", capture_output=True, text=True, check=False, **lower)  # type: ignore[call-overload,no-any-return]

    def calls(self) -> list[str]:
        """The arguments of each `extproc` that was started."""
        calls = self.shared / "calls"
        return calls.read_text().splitlines() if calls.exists() else []


@pytest.fixture
def beside() -> Iterator[Beside]:
    # Not tmp_path: that is open to its owner alone.
    with tempfile.TemporaryDirectory() as name:
        beside = Beside(Path(name))
        for directory in (beside.directory / "bin", beside.config, beside.shared):
            directory.mkdir()
        script = (ROOT / "deploy/beside-envoy").read_text()
        for fixed, ours in (("=/etc/ai-proxy\n", beside.config), ("=/run/ai-proxy\n", beside.shared)):
            assert script.count(fixed) == 1
            script = script.replace(fixed, f"={ours}\n")
        (beside.directory / "bin/beside-envoy").write_text(script)
        (beside.directory / "bin/extproc").write_text(EXTPROC)
        shutil.copy(ROOT / "deploy/envoy.sh", beside.directory / "bin")
        for path in (beside.directory, *beside.directory.rglob("*")):
            path.chmod(0o755)
        beside.shared.chmod(0o777)
        yield beside


def test_without_a_file_the_environment_is_served(beside: Beside) -> None:
    done = beside.run("--log-format=json", WORKERS="3")
    assert done.returncode == 0, done.stderr
    run = beside.shared
    assert beside.calls() == [
        f"envoy --workers 3 --sidecar unix:{run}/extproc.sock --xds-dir {run} --envoy-stats 0.0.0.0:9902 --no-validate",
        f"serve --workers 3 --listen unix:{run}/extproc.sock --xds-dir {run} --log-format=json",
    ]


@pytest.mark.parametrize("named", ["", "./deploy/config"])
def test_a_file_is_served_whether_its_directory_was_named_or_not(beside: Beside, named: str) -> None:
    (beside.config / "gateway.yaml").touch()
    assert beside.run(CONFIG_DIR=named).returncode == 0
    assert [call.split()[1:3] for call in beside.calls()] == [["--config", f"{beside.config}/gateway.yaml"]] * 2


def test_a_link_to_nowhere_is_not_the_environment(beside: Beside) -> None:
    (beside.config / "gateway.yaml").symlink_to("/nowhere/gateway.yaml")
    beside.run()
    assert all("--config" in call for call in beside.calls())
    assert beside.calls()


@pytest.mark.parametrize("mode", [0o000, 0o111, 0o444], ids=oct)
def test_a_directory_that_cannot_be_read_stops_it(beside: Beside, mode: int) -> None:
    """Not to be listed, or not to be entered: in both the file would seem not to be there."""
    (beside.config / "gateway.yaml").touch()
    beside.config.chmod(mode)
    done = beside.run()
    assert (done.returncode, beside.calls()) == (2, [])
    user = os.geteuid() or NOBODY
    assert (
        done.stderr == f"Error: {beside.config} cannot be read by user {user}: chmod o+rx the directory (CONFIG_DIR)\n"
    )


def test_a_directory_that_was_named_without_a_file_stops_it(beside: Beside) -> None:
    (beside.config / "gateway.yml").touch()
    done = beside.run(CONFIG_DIR="./mine")
    assert (done.returncode, beside.calls()) == (2, [])
    assert done.stderr == "Error: CONFIG_DIR is ./mine, but there is no gateway.yaml in it\n"


def test_envoy_finds_its_bootstrap_and_its_start_script(beside: Beside) -> None:
    assert beside.run().returncode == 0
    assert {path.name for path in beside.shared.iterdir()} == {"calls", "envoy.yaml", "envoy.sh"}
    assert (beside.shared / "envoy.yaml").read_text() == "bootstrap\n"
    assert (beside.shared / "envoy.sh").read_text() == (ROOT / "deploy/envoy.sh").read_text()


def test_a_bootstrap_that_is_not_whole_never_takes_the_old_ones_place(beside: Beside) -> None:
    (beside.shared / "envoy.yaml").write_text("old\n")
    (beside.shared / "envoy.yaml").chmod(0o666)
    (beside.directory / "broken").touch()
    assert beside.run().returncode == 2
    assert (beside.shared / "envoy.yaml").read_text() == "old\n"


class Healthy(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/__sim__/health" else 404)
        self.end_headers()


@pytest.mark.parametrize("there", [True, False])
def test_simulated_vendors_stand_in_where_they_are_reached_without_a_proxy(beside: Beside, there: bool) -> None:
    with http.server.HTTPServer(("127.0.0.1", 0), Healthy) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port if there else 1}"
        done = beside.run(SIMULATED_VENDORS=url, http_proxy="http://127.0.0.1:1")
        server.shutdown()
    assert done.returncode == 0
    assert [f"--stand-in {url}" in call for call in beside.calls()] == [there, there]
