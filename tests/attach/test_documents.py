"""The pages about attaching: what they show runs as it stands, and both languages say the same.

A block behind `<!-- run -->` is run by bash in an empty directory that has the files of the blocks behind
`<!-- file: NAME -->`; what needs a cluster is not marked.
"""

import os
from pathlib import Path
import re
import subprocess
import sys

import pytest

from tests.attach import gateways
from tests.contract.processes import environment
from tests.docs import test_docs as docs

PAGES = ("higress", "istio", "envoy-gateway", "envoy")
NAMES = [f"docs/{page}{language}.md" for page in PAGES for language in ("", ".zh")]


def blocks(name: str, mark: str) -> list[tuple[str, str]]:
    """Argument and content of the blocks behind a mark."""
    return re.findall(rf"<!-- {mark}:? ?(\S*) -->\n```\w+\n(.*?)^```$", docs.text(name), re.S | re.M)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_shown_runs(name: str, tmp_path: Path) -> None:
    for file, content in blocks(name, "file"):
        (tmp_path / file).write_text(content)
    commands = [content for _, content in blocks(name, "run")]
    assert commands
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environ = environment(PATH=path, DASHSCOPE_API_KEY="sk-d", MOONSHOT_API_KEY="sk-m")
    done = subprocess.run(
        ["bash", "-euc", "\n".join(commands)], cwd=tmp_path, env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    [printed] = re.findall(r"extproc attach .*> (\S+)", "\n".join(commands))
    documents = gateways.read(tmp_path / printed)
    assert documents
    if "higress" in name:
        assert "sk-your" not in (tmp_path / "gateway.yaml").read_text()
        patched = [p["match"]["routeConfiguration"]["vhost"]["route"]["name"]
                   for p in documents[0]["spec"]["configPatches"] if p["applyTo"] == "HTTP_ROUTE"]  # fmt: skip
        assert patched == ["qwen", "team-a/kimi"]


@pytest.mark.parametrize("page", PAGES)
def test_the_pages_are_twins(page: str) -> None:
    english, chinese = f"docs/{page}.md", f"docs/{page}.zh.md"
    assert docs.headings(english) == docs.headings(chinese)
    assert [(lang, docs.without_comments(code)) for lang, code in docs.fenced(docs.text(english))] == [
        (lang, docs.without_comments(code)) for lang, code in docs.fenced(docs.text(chinese))
    ]
    rows = [re.findall(r"^\|.*$", docs.text(name), re.M) for name in (english, chinese)]
    assert len(rows[0]) == len(rows[1])
    for ours, theirs in zip(*rows, strict=True):
        assert sorted(re.findall(r"`[^`]+`", ours)) == sorted(re.findall(r"`[^`]+`", theirs)), (ours, theirs)


@pytest.mark.parametrize("name", NAMES)
def test_links_and_commands_of_a_page(name: str) -> None:
    docs.test_links_lead_somewhere(name)
    docs.test_commands_that_are_shown_exist(name)


@pytest.mark.parametrize("name", docs.READMES)
def test_the_readme_names_every_page(name: str) -> None:
    language = ".zh" if ".zh" in name else ""
    for page in PAGES:
        assert f"(docs/{page}{language}.md)" in docs.text(name)
