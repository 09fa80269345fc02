"""What tests fetch: pinned, checked, kept in pytest's cache.

Rule: where it cannot be had, a test is skipped with the reason; with REQUIRE_ONLINE set, as `.ci/run` does, it fails.
"""

from collections.abc import Callable, Mapping
import hashlib
import io
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


def go_module(module: str, files: Mapping[str, str]) -> Callable[[Path], None]:
    """Extracts `files` of a Go module, `PATH@VERSION`, each with the SHA-256 of its content."""
    path, _, version = module.partition("@")

    def fetch(directory: Path) -> None:
        with urllib.request.urlopen(f"{GO_PROXY}/{path}/@v/{version}.zip", timeout=120) as response:
            archive = io.BytesIO(response.read())
        with zipfile.ZipFile(archive) as contents:
            for file, sha256 in files.items():
                content = contents.read(f"{module}/{file}")
                assert hashlib.sha256(content).hexdigest() == sha256, f"{file} of {module} is not what it was"
                (directory / Path(file).name).write_bytes(content)

    return fetch
