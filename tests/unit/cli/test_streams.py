"""Whoever starts us may have closed stdin, stdout or stderr; and who needs no key is told of none."""

import subprocess
import sys

import pytest

from extproc.envoy.process import keyless_environment


@pytest.mark.parametrize(
    ("closed", "names"),
    [
        ("<&-", "stdin"),
        (">&-", "stdout"),
        ("2>&-", "stderr"),
        ("<&- >&-", "stdin and stdout"),
        ("<&- 2>&-", "stdin and stderr"),
    ],
)
def test_closed_streams_are_said_and_the_command_goes_on(closed: str, names: str) -> None:
    command = ["sh", "-c", f'exec "$0" -m extproc --version {closed}', sys.executable]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert f"extproc: {names} closed at start: /dev/null stands in" in done.stdout + done.stderr
    assert done.returncode == 0


@pytest.mark.parametrize("closed", ["<&-", ">&-"])
def test_a_worker_without_orders_says_so(closed: str) -> None:
    command = ["sh", "-c", f'exec "$0" -m extproc.worker {closed}', sys.executable]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("a worker is started by `extproc run` or `extproc serve`")


def test_envoy_and_stand_ins_are_told_of_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DASHSCOPE_API_KEY", "OPENAI_API_TOKEN", "MY_PATH", "PATH_KEY", "HTTPS_PROXY", "AWS_SECRET"):
        monkeypatch.setenv(name, "sk-planted")
    monkeypatch.setenv("SSL_CERT_FILE", "/ca.pem")
    told = keyless_environment()
    assert "sk-planted" not in told.values()
    assert told["SSL_CERT_FILE"] == "/ca.pem"
    assert "PATH" in told
