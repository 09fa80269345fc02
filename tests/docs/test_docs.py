"""The documents against the code: what they show loads, what exists is described, both languages say the same.

Conventions: a block fenced as `yaml` is a configuration that loads by itself. One fenced as `yml` is for
other programs. A table behind `<!-- keys: Class -->`
describes the keys of that model. Code blocks of a document and its Chinese twin are the same, comments aside.
"""

from collections.abc import Iterator
import os
from pathlib import Path
import re
import shutil
import subprocess
import sys
import textwrap
from typing import Any, get_args

import click
from click.testing import CliRunner
from pydantic import BaseModel
import pytest

from extproc.cli.commands import cli
from extproc.config.config import Config
from extproc.config.describe import schema
from extproc.config.load import load
from extproc.config.quotas import Limit
from extproc.providers import AnyProvider, Provider, Vendor
from extproc.providers.blocks import Block
from extproc.text.patterns import NamePatterns
from tests.unit import vectors
from tools import pages
from tools import vendors as made

ROOT = Path(__file__).parents[2]
READMES = ("README.md", "README.zh.md")
REFERENCES = ("docs/configuration.md", "docs/configuration.zh.md")
TROUBLESHOOTING = ("docs/troubleshooting.md", "docs/troubleshooting.zh.md")
PAGES = tuple(f"docs/{p.name}" for p in sorted((ROOT / "docs").glob("*.md")))
DOCUMENTS = (*READMES, "CONTRIBUTING.md", "CONTRIBUTING.zh.md", "CHANGELOG.md", *PAGES)
EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))
ENVIRON = {
    name: f"sk-test-{name.lower()}"
    for name in ("DASHSCOPE_API_KEY", "OPENAI_API_KEY", "AZURE_OPENAI_API_KEY", "MOONSHOT_API_KEY")
}


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def fenced(document: str) -> list[tuple[str, str]]:
    """Language and content of every code block."""
    blocks = re.findall(r"^( *)```(\w*)\n(.*?)^\1```$", document, re.S | re.M)
    return [(language, re.sub(rf"(?m)^{indent}", "", code)) for indent, language, code in blocks]


def prose(document: str) -> str:
    """A document without its code blocks."""
    return re.sub(r"^( *)```\w*\n.*?^\1```$", "", document, flags=re.S | re.M)


# Configurations


YAMLS = [
    (f"{name} {i}", code) for name in DOCUMENTS for i, (lang, code) in enumerate(fenced(text(name))) if lang == "yaml"
]


@pytest.mark.parametrize(("code"), [c for _, c in YAMLS], ids=[n for n, _ in YAMLS])
def test_a_configuration_in_a_document_loads(code: str, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(code, encoding="utf-8")
    assert load(path, ENVIRON).config.providers


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.name)
def test_an_example_loads_without_a_note(path: Path) -> None:
    loaded = load(path, ENVIRON)
    assert not loaded.notes
    for provider in loaded.config.providers:
        source = provider.context_source
        if source is not None and source.url.startswith("file://"):
            assert Path(source.url.removeprefix("file://")).is_file()


@pytest.mark.parametrize("name", REFERENCES)
def test_every_example_is_listed(name: str) -> None:
    assert EXAMPLES
    for path in EXAMPLES:
        assert f"](../examples/{path.name})" in text(name), path.name


# Keys


def models(annotation: Any, within: tuple[type, ...] = ()) -> Iterator[type[Block]]:
    """Every block that a type speaks of, recursively."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel) and annotation not in within:
        assert issubclass(annotation, Block)
        yield annotation
        for field in annotation.model_fields.values():
            yield from models(field.annotation, (*within, annotation))
    for argument in get_args(annotation):
        yield from models(argument, within)


VENDORS = [m for m in models(AnyProvider) if issubclass(m, Provider)]
SPOKEN = {provider["type"] for vector in vectors.load() for provider in vectors.configuration(vector)["providers"]}
TYPES = [(name, vendor) for vendor in VENDORS for name in get_args(vendor.model_fields["type"].annotation)]


def keys(block: type[Block]) -> dict[str, Any]:
    """Key → default of a block; of a vendor's and of a shared limit's, only its own. `Config` with the short forms that
    the loader knows."""
    found = {f.alias or n: f.get_default(call_default_factory=True) for n, f in block.model_fields.items()}
    for base in (Provider, Limit):
        if issubclass(block, base) and block is not base:
            return {k: v for k, v in found.items() if k not in keys(base)}
    if block is Config:
        found |= {k: None for k in schema()["$defs"]["Config"]["properties"] if k not in found}
    return found


BLOCKS = {b.__name__: b for b in (*models(Config), Provider)}


def reference(name: str) -> str:
    """A page of the reference, and that of the vendors behind it."""
    return text(name) + text(name.replace("configuration", "vendors"))


def documented(name: str) -> dict[str, dict[str, str]]:
    """Model → key → its row, as the reference has it."""
    tables = re.findall(r"<!-- keys: (\w+) -->\n(?:<!-- made: \w+ -->\n)?((?:\|.*\n)+)", reference(name))
    assert len(tables) == len({model for model, _ in tables}), "a model has two tables"
    return {model: {k: row for row, k in re.findall(r"^(\| `(\w+)` \|.*)$", rows, re.M)} for model, rows in tables}


@pytest.mark.parametrize("name", REFERENCES)
def test_every_key_is_described_and_no_other(name: str) -> None:
    tables = documented(name)
    wanted = {model: set(keys(block)) for model, block in BLOCKS.items()}
    assert {model: set(rows) for model, rows in tables.items()} == {m: k for m, k in wanted.items() if k}


@pytest.mark.parametrize("name", REFERENCES)
def test_defaults_are_the_codes(name: str) -> None:
    for model, rows in documented(name).items():
        for key, row in rows.items():
            cell = row.split(" | ")[2]
            match keys(BLOCKS[model])[key]:
                case bool() as value:
                    assert f"`{str(value).lower()}`" == cell, (model, key)
                case int() | float() as value:
                    assert cell.split()[0] == f"{value:.15g}", (model, key)
                case NamePatterns() as value:
                    assert re.findall(r"`([^`]+)`", cell) == list(value.patterns), (model, key)
                case str() as value if value:
                    assert cell == f"`{value}`", (model, key)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_keys_in_prose_exist(name: str) -> None:
    """A word in camelCase between backticks is a key of ours, of Higress, or stands in deploy/."""
    from extproc.config import higress

    ours = {key for block in BLOCKS.values() for key in keys(block)}
    theirs = higress.UNSUPPORTED_KEYS | {
        "matchRules",
        "defaultConfig",
        "configDisable",
        "defaultConfigDisable",
        "failStrategy",
    }
    deployed = {w for p in (ROOT / "deploy").rglob("*.*") for w in re.findall(r"\w+", p.read_text())}
    for word in re.findall(r"`([a-z]+[A-Z][A-Za-z]*)(?::[^`]*)?`", prose(text(name))):
        assert word in ours | theirs | deployed, word


# Vendors


@pytest.mark.parametrize(("type_", "vendor"), TYPES, ids=[name for name, _ in TYPES])
def test_a_vendor_has_its_rows_and_vectors(type_: str, vendor: type[Provider]) -> None:
    for name in REFERENCES:
        assert re.search(rf"^\| `{type_}`", reference(name), re.M), f"{name} has no row for {type_}"
        assert vendor is Vendor or f"`{type_}`" in documented(name)["Provider"]["type"]
    assert type_ in SPOKEN, f"no vectors speak of type {type_}"


def test_the_tables_of_vendors_are_made_from_the_rows() -> None:
    for path, tables in made.made().items():
        page = path.read_text(encoding="utf-8")
        assert pages.render(page, tables) == page, f"{path.name} is stale: make vendors"


def test_a_vendor_is_added_by_following_contributing(tmp_path: Path) -> None:
    """In a copy of the repository, from its words alone."""
    copy = tmp_path / "repository"
    for name in ("extproc", "tests", "tools", "docs", "examples", "deploy", "envoy"):
        shutil.copytree(
            ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", "node_modules", "images")
        )
    for path in ROOT.iterdir():
        if path.is_file():
            shutil.copy(path, copy)
    section = text("CONTRIBUTING.md").partition("## Add a vendor\n")[2].partition("\n### ")[0]
    (row,) = (code for lang, code in fenced(section) if lang == "python")
    (made_of,) = (code for lang, code in fenced(section) if lang == "yml")
    (file,) = re.findall(r"within `ROWS` of `([\w/.]+)`", section)
    (vectors_file,) = re.findall(r"\*\*Its vectors\*\*, `([\w/.]+)`", section)
    rows, end, rest = (copy / file).read_text().rpartition("\n)\n")
    (copy / file).write_text(rows + "\n" + textwrap.indent(row, "    ").rstrip() + "," + end + rest)
    (copy / vectors_file).write_text(made_of)

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        environ = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run([sys.executable, *command], cwd=copy, env=environ, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    run("-m", "tools.vendors")
    chosen = ("tests/unit/providers/test_vectors.py", "tests/docs/test_docs.py", "tests/unit/config/test_describe.py")
    again = "not contributing"
    run("-m", "pytest", "-q", "-p", "no:cacheprovider", *chosen, "-k", f"(acme or vendor or schema) and {again}")
    (copy / "config.yaml").write_text("providers: [{type: acme, apiToken: sk-a}]\n")
    assert "acme" in run("-m", "extproc", "check", "--config", "config.yaml").stdout


# The command line


def parameters(command: click.Command) -> list[click.Parameter]:
    """Of a command, or of all within it."""
    within = command.commands.values() if isinstance(command, click.Group) else ()
    return [*command.params, *(parameter for one in within for parameter in parameters(one))]


COMMANDS = {
    name: {o for p in parameters(command) if isinstance(p, click.Option) for o in p.opts if o.startswith("--")}
    for name, command in cli.commands.items()
}


@pytest.mark.parametrize("name", REFERENCES)
def test_the_table_of_commands(name: str) -> None:
    rows = dict(re.findall(r"^\| `extproc (\w+)` \|[^|]*\|(.*)\|$", text(name), re.M))
    assert {command: set(re.findall(r"--[a-z-]+", row)) for command, row in rows.items()} == COMMANDS
    for command, row in rows.items():
        for option, default in re.findall(r"`(--[a-z-]+)` \((?:gRPC, |gRPC，)?([\w.:-]+)", row):
            parameter = next(p for p in parameters(cli.commands[command]) if option in p.opts)
            known = parameter.default[0] if isinstance(parameter.default, (tuple, list)) else parameter.default
            assert str(known).removesuffix(".0") == default, (command, option)


@pytest.mark.parametrize("name", [*DOCUMENTS, *(f"examples/{p.name}" for p in EXAMPLES)])
def test_commands_that_are_shown_exist(name: str) -> None:
    for command, rest in re.findall(r"\bextproc ([a-z]+)((?: [^\n`|>]*)?)", text(name)):
        assert command in COMMANDS, command
        for option in re.findall(r"--[a-z-]+", rest):
            assert option in COMMANDS[command], (command, option)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_make_targets_exist(name: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):", text("Makefile"), re.M))
    shown = " ".join(c for lang, c in fenced(text(name)) if lang in ("sh", "text"))
    shown += " ".join(re.findall(r"`(make [^`]*)`", text(name)))
    assert set(re.findall(r"(?:^|[\s$])make ([a-z-]+)", shown)) <= targets


# Twins, links, manners


def headings(name: str) -> list[int]:
    return [len(marks) for marks in re.findall(r"^(#+) ", prose(text(name)), re.M)]


def without_comments(code: str) -> str:
    return re.sub(r"(?m)\s+#.*$|^#.*\n", "", code)


@pytest.mark.parametrize("english", [n for n in ("README.md", "CONTRIBUTING.md", *PAGES) if not n.endswith(".zh.md")])
def test_every_document_has_a_chinese_twin(english: str) -> None:
    chinese = f"{english.removesuffix('.md')}.zh.md"
    assert headings(english) == headings(chinese)
    assert [(lang, without_comments(code)) for lang, code in fenced(text(english))] == [
        (lang, without_comments(code)) for lang, code in fenced(text(chinese))
    ]
    marks = [re.findall(r"<!-- (?:tested|keys).*-->", text(name)) for name in (english, chinese)]
    assert marks[0] == marks[1]
    rows = [re.findall(r"^\|.*$", text(name), re.M) for name in (english, chinese)]
    assert len(rows[0]) == len(rows[1])
    for ours, theirs in zip(*rows, strict=True):
        assert ours.count(" | ") == theirs.count(" | "), (ours, theirs)
        # What stands between backticks is the same in every language.
        assert sorted(re.findall(r"`[^`]+`", ours)) == sorted(re.findall(r"`[^`]+`", theirs)), (ours, theirs)


def anchors(name: str) -> set[str]:
    titles = re.findall(r"^#+ (.*)$", prose(text(name)), re.M)
    return {re.sub(r"[^\w\- ]", "", t.lower()).replace(" ", "-") for t in titles}


@pytest.mark.parametrize("name", [*DOCUMENTS, "envoy/README.md"])
def test_links_lead_somewhere(name: str) -> None:
    here = (ROOT / name).parent
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(text(name))):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        file = (here / path) if path else ROOT / name
        assert file.exists(), target
        if anchor:
            assert anchor in anchors(str(file.resolve().relative_to(ROOT))), target


@pytest.mark.parametrize("name", DOCUMENTS)
def test_files_named_between_backticks_exist(name: str) -> None:
    for path in re.findall(r"`((?:extproc|tests|envoy|examples|protos|tools)/[\w./-]*)`", prose(text(name))):
        assert (ROOT / path).exists() or "acme" in path, path


@pytest.mark.parametrize("name", TROUBLESHOOTING)
def test_every_error_is_in_the_table_with_status_and_words(name: str) -> None:
    from extproc.envoy import replies
    from extproc.terms import errors

    ours = {(c.code, str(c.status)) for c in vars(errors).values() if isinstance(c, type) and getattr(c, "code", None)}
    envoys = {(code, str(status)) for status, (code, _) in replies.OWN_REPLIES.items()}
    rows = re.findall(r"^\| (\d{3}[\d、, ]*) \| ([^|]+) \| ([^|]+) \|", text(name), re.M)
    said = {(c, s) for ss, cc, _ in rows for c in re.findall(r"`(\w+)`", cc) for s in re.findall(r"\d+", ss)}
    assert said >= {*ours, *envoys, ("internal_error", "500"), ("invalid_request", "403")}
    source = "".join(
        path.read_text() for path in sorted((ROOT / "extproc").rglob("*.py")) if "simulate" not in path.parts
    )
    for _, codes, words in rows:
        for message in re.findall(r"`([^`]+)`", words) if codes.startswith("`") else ():
            for part in message.split(" … "):
                assert part in source, message


@pytest.mark.parametrize("name", REFERENCES)
def test_every_field_of_the_log_line_is_in_the_table(name: str) -> None:
    fields = set(re.findall(r'"(\w+)":', text("extproc/worker/account.py")))
    assert {"method", "error", "duration_ms", "request_id"} <= fields
    table = " ".join(row.split(" | ")[0] for row in re.findall(r"^\|.*$", text(name), re.M))
    for field in sorted(fields):
        assert f"`{field}`" in table, field


USAGE = [
    (f"{name} {i}", code)
    for name in ("docs/usage.md", "docs/usage.zh.md")
    for i, (lang, code) in enumerate(fenced(text(name)))
    if lang == "yaml"
]


@pytest.mark.parametrize("code", [c for _, c in USAGE], ids=[n for n, _ in USAGE])
def test_a_recipe_of_limits_passes_the_check(code: str, tmp_path: Path) -> None:
    path = tmp_path / "gateway.yaml"
    path.write_text(code, encoding="utf-8")
    result = CliRunner().invoke(cli, ["check", str(path)], env=ENVIRON)
    assert result.exit_code == 0, result.output + str(result.exception)
    assert "there is no price" not in result.output
