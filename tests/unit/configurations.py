"""Texts as configuration files: read, or refused with words."""

from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent

import pytest

from extproc.config import wording
from extproc.config.load import ConfigError, Loaded, StandIn, load

TYPES = ", ".join(wording.TYPES)


def write(folder: Path, text: str) -> Path:
    """The text, without its indent, as a file."""
    path = folder / "config.yaml"
    path.write_text(dedent(text))
    return path


def read(folder: Path, text: str, environ: Mapping[str, str] | None = None, stand_in: StandIn | None = None) -> Loaded:
    """What is understood of it."""
    return load(write(folder, text), environ or {}, stand_in=stand_in)


def problems(folder: Path, text: str, environ: Mapping[str, str] | None = None) -> list[str]:
    """The lines of the error, without the folder."""
    with pytest.raises(ConfigError) as caught:
        read(folder, text, environ)
    return str(caught.value).replace(f"{folder}/", "").splitlines()
