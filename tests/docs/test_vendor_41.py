"""CONTRIBUTING's "Add a vendor" followed to the letter, in a copy of the repository: a row, a file of vectors, one
command; and the vendor is there, in the documents, the schema, the environment, the stand-ins' suite."""

from collections.abc import Sequence
import os
from pathlib import Path
import re
import shutil
import subprocess
import sys
import textwrap

import pytest

ROOT = Path(__file__).parents[2]
PARTS = (
    "extproc",
    "tests",
    "tools",
    "docs",
    "examples",
    "README.md",
    "README.zh.md",
    "CONTRIBUTING.md",
    "pyproject.toml",
)
TABLE = "extproc/providers/vendors/world.py"


def steps() -> tuple[str, str]:
    """The row and the vectors that the document shows."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    section = text[text.index("## Add a vendor") : text.index("### With a protocol of its own")]
    assert len(section[: section.index("2. **Its vectors**")].splitlines()) <= 30
    (row,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    (vectors,) = re.findall(r"```yml\n(.*?)```", section, re.DOTALL)
    assert len(textwrap.dedent(row).splitlines()) <= 20
    return textwrap.dedent(row), textwrap.dedent(vectors)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository with vendor 41."""
    root = tmp_path_factory.mktemp("copy")
    ignored = shutil.ignore_patterns("__pycache__", "bench", "chaos", "containers")
    for part in PARTS:
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, root / part, ignore=ignored)
        else:
            shutil.copy(ROOT / part, root / part)
    row, vectors = steps()
    table = root / TABLE
    text = table.read_text()
    end = text.rindex(")")
    table.write_text(f"{text[:end]}{textwrap.indent(row.rstrip(), '    ')},\n{text[end:]}")
    (root / "tests/vectors/acme.yaml").write_text(vectors)
    run(root, "tools/vendors.py")
    return root


def run(root: Path, *arguments: str, environ: Sequence[tuple[str, str]] = ()) -> str:
    """A command of the copy; what it printed."""
    names = {"PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1", **dict(environ)}
    kept = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=root, env={**kept, **names}, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, f"{arguments}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
    return done.stdout + done.stderr


def test_its_tests_are_there_and_pass(copy: Path) -> None:
    options = ("-q", "-n", "0", "-p", "no:cacheprovider", "-p", "no:randomly")
    told = run(copy, "-m", "pytest", *options, "tests/unit/providers", "-k", "acme or vendor_table")
    assert "passed" in told or "100%" in told


def test_the_documents_have_it_and_are_fresh(copy: Path) -> None:
    run(copy, "tools/vendors.py", "--check")
    for document in ("docs/vendors.md", "docs/vendors.zh.md"):
        assert "acme" in (copy / document).read_text()


def test_it_is_served_without_a_file(copy: Path) -> None:
    told = run(copy, "-m", "extproc", "check", environ=[("ACME_API_KEY", "k")])
    assert "acme" in told
    assert '"acme"' in run(copy, "-m", "extproc", "schema")


def test_it_is_formatted_as_the_rest(copy: Path) -> None:
    run(copy, "-m", "ruff", "format", "--check", TABLE)
    run(copy, "-m", "ruff", "check", TABLE)
