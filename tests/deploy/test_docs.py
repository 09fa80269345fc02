"""docs/kubernetes.md and docs/capacity.md: what needs no cluster runs, values are the chart's, sums are right."""

from collections.abc import Mapping
import math
from pathlib import Path
import re
import subprocess
import sys
from typing import Any

import pytest
from ruamel.yaml import YAML

from .chart import CHART, ROOT, mounted, program, render

KUBERNETES = ("docs/kubernetes.md", "docs/kubernetes.zh.md")
CAPACITY = ("docs/capacity.md", "docs/capacity.zh.md")
WHOLE = ("config", "networkPolicy.egress", "resources.extproc", "resources.envoy")
"""Values that are described as one."""


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def fenced(name: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text(name), re.S | re.M)


def test_commands_that_need_no_cluster_run_as_written(tmp_path: Path) -> None:
    program()
    (block,) = [block for block in fenced("docs/kubernetes.md", "sh") if ".venv/bin/helm lint" in block]
    lines = [line for line in block.splitlines() if line.startswith(".venv/")]
    assert len(lines) == 3
    (tmp_path / ".venv").symlink_to(sys.prefix)
    (tmp_path / "deploy").symlink_to(ROOT / "deploy")
    done = subprocess.run(["sh", "-ec", "\n".join(lines)], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "deployment/ai-proxy against version 1.33" in done.stdout


def test_the_way_to_the_other_mode_renders(tmp_path: Path) -> None:
    (shown,) = [block for block in fenced("docs/kubernetes.md", "sh") if "mode=separate" in block]
    shown = shown[shown.index("helm install") :].replace("helm install", f"{program()} template")
    done = subprocess.run(["sh", "-ec", shown], cwd=ROOT, capture_output=True, text=True, check=False)
    assert "clusterIP: None" in done.stdout, done.stderr


@pytest.mark.parametrize("block", fenced("docs/kubernetes.md", "yml"), ids=str.split)
def test_values_that_are_shown_render_to_a_configuration_that_is_good(block: str, tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.mkdir()
    for name, content in mounted(render(YAML(typ="safe").load(block), tmp_path))[0].items():
        (config / name).write_text(content)
    arguments = ("--config", str(config / "gateway.yaml"))
    assert extproc("envoy", *arguments, "--no-validate").returncode == 0, "as the init container does, without a key"
    keys = tmp_path / "keys"
    keys.mkdir()
    for name in ("dashscope", "moonshot"):
        (keys / name).write_text("sk-test\n")
    done = extproc("check", *arguments, REDIS_PASSWORD="x")
    assert done.returncode == 0, done.stderr


def extproc(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "extproc", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environ)


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        name = prefix + key
        found |= flat(value, f"{name}.") if isinstance(value, dict) and value and name not in WHOLE else {name: value}
    return found


@pytest.mark.parametrize("name", KUBERNETES)
def test_the_table_of_values_is_the_charts(name: str) -> None:
    table = text(name).partition("<!-- values -->")[2].partition("\n\n")[0]
    rows = dict(re.findall(r"^\| `([\w.]+)` \| ([^|]*) \|.*\|$", table, re.M))
    values = flat(YAML(typ="safe").load(CHART / "values.yaml"))
    assert [*rows] == [*values]
    for key, shown in rows.items():
        if key != "config":
            assert YAML(typ="safe").load(shown.strip("`")) == values[key], key


def number(shown: str) -> float:
    return float(shown.replace(",", "").strip())


@pytest.mark.parametrize("name", CAPACITY)
def test_the_sums_are_right(name: str) -> None:
    """Rows `| name | value | …` are given, rows `| name | formula | value | …` are worked out from those before."""
    known: dict[str, float] = {}
    worked = 0
    for row in re.findall(r"^\| `(\w+)` \| (.*) \|$", text(name), re.M):
        cells = row[1].split(" | ")
        if formula := re.fullmatch(r"`([\w\s.+*/(),-]+)`", cells[0]):
            result = eval(formula[1], {"__builtins__": {}, "ceil": math.ceil, "max": max}, known)
            decimals = len(cells[1].partition(".")[2])
            assert f"{result:,.{decimals}f}" == cells[1].strip(), f"{row[0]}; run: make capacity"
            worked += 1
        known[row[0]] = number(cells[1 if formula else 0])
    assert worked > 10
