"""What tests fetch: pinned, checked, kept in pytest's cache.

Rule: where it cannot be had, a test is skipped with the reason; with REQUIRE_ONLINE set, as `.ci/run` does, it fails.
"""

from collections.abc import Callable
import hashlib
import os
from pathlib import Path
import subprocess
import sys
import urllib.request
import zipfile

import pytest

GO_PROXY = os.environ.get("GOPROXY", "").partition(",")[0] or "https://proxy.golang.org"


def fetched(directory: Path, what: str, fetch: Callable[[Path], None]) -> Path:
    """`directory`, filled by `fetch` unless it is there already."""
    done = directory / ".complete"
    if not done.exists():
        directory.mkdir(parents=True, exist_ok=True)
        try:
            fetch(directory)
        except (OSError, subprocess.SubprocessError) as error:
            if os.environ.get("REQUIRE_ONLINE"):
                raise
            pytest.skip(f"{what} cannot be fetched: {error}")
        done.touch()
    return directory


def wheel(requirement: str) -> Callable[[Path], None]:
    """Installs one wheel, without what it needs."""

    def fetch(directory: Path) -> None:
        options = ("--quiet", "--no-deps", "--only-binary", ":all:", "--target", str(directory))
        subprocess.run([sys.executable, "-m", "pip", "install", *options, requirement], check=True, timeout=300)

    return fetch


def go_module(module: str, version: str, sha256: str, *files: str) -> Callable[[Path], None]:
    """Extracts files of a Go module, of which the proxy serves the very bytes that were published."""

    def fetch(directory: Path) -> None:
        archive = directory / "module.zip"
        with urllib.request.urlopen(f"{GO_PROXY}/{module}/@v/{version}.zip", timeout=120) as response:
            archive.write_bytes(response.read())
        assert hashlib.sha256(archive.read_bytes()).hexdigest() == sha256, f"{module} is not what it was"
        with zipfile.ZipFile(archive) as contents:
            for file in files:
                path = directory / Path(file).name
                path.write_bytes(contents.read(f"{module}@{version}/{file}"))
        archive.unlink()

    return fetch
