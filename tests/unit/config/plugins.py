"""Higress' plugin documents, for the tests of how they are read."""

from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent

from extproc.config.load import Loaded, load


def read(folder: Path, text: str, environ: Mapping[str, str] | None = None) -> Loaded:
    path = folder / "plugin.yaml"
    path.write_text(dedent(text))
    return load(path, environ or {})


def plugin(spec: str, name: str = "ai-proxy") -> str:
    return f"kind: WasmPlugin\nmetadata: {{name: {name}}}\nspec:\n" + "".join(
        f"  {line}\n" for line in dedent(spec).splitlines()
    )
