"""No name that we ship is one that its vendor has switched off; and what is said about those of others."""

from datetime import UTC, date, datetime
from pathlib import Path
import re

import pytest

from extproc.config.load import load
from extproc.providers import Azure, Moonshot, OpenAI, Qwen
from extproc.providers.lifecycle import RETIRED, retirement

ROOT = Path(__file__).parents[3]
SHOWN = [
    *sorted(ROOT.glob("examples/*.yaml")),
    *sorted(ROOT.glob("docs/*.md")),
    *sorted(ROOT.glob("README*.md")),
    *sorted(path for path in (ROOT / "deploy").rglob("*") if path.suffix in (".yaml", ".txt", ".md")),
]
TARGETS = re.compile(r"(?:[\"'*\w]: |model: |healthCheckModel: |visionModel: |-> )\"?([A-Za-z][\w.-]+)\"?")


def gone(vendor: str, name: str) -> bool:
    found = retirement(vendor, name)
    return found is not None and found.day <= datetime.now(UTC).date()


ENVIRON = {"DASHSCOPE_API_KEY": "q", "MOONSHOT_API_KEY": "m", "OPENAI_API_KEY": "o"}


@pytest.mark.parametrize("service", ["qwen", "moonshot"])
def test_shipped_maps_lead_to_living_models(service: str) -> None:
    provider = load(None, ENVIRON).config.by_id[service]
    assert [name for name in provider.model_mapping.targets if gone(provider.type, name)] == []


@pytest.mark.parametrize("vendor", [Qwen, Moonshot, OpenAI, Azure])
def test_examples_to_show_are_alive(vendor: type[Qwen | Moonshot | OpenAI | Azure]) -> None:
    assert not gone(vendor.__name__.lower(), vendor.example_model)


@pytest.mark.parametrize("path", SHOWN, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_document_shows_a_model_that_is_gone(path: Path) -> None:
    names = set(TARGETS.findall(path.read_text(encoding="utf-8")))
    assert sorted(name for name in names if any(gone(vendor, name) for vendor in ("qwen", "moonshot"))) == []


@pytest.mark.parametrize(
    ("vendor", "name", "day", "successor"),
    [
        ("qwen", "qwen-turbo", date(2026, 10, 10), "qwen3.7-flash"),
        ("qwen", "qwen-turbo-latest", date(2026, 5, 13), "qwen3.7-plus"),
        ("qwen", "qwen3.8-max-preview", date(2026, 8, 6), "qwen3.8-max"),
        ("moonshot", "kimi-k2-0905-preview", date(2026, 5, 25), "kimi-k3"),
        ("openai", "gpt-4o-2024-05-13", date(2026, 10, 23), "gpt-5.6-sol"),
        ("openai", "gpt-3.5-turbo-instruct-0914", date(2026, 9, 28), "gpt-5.6-terra"),
        ("azure", "gpt-4o", date(2027, 4, 14), "gpt-6-luna"),
        ("claude", "claude-sonnet-4-20250514", date(2026, 6, 15), "claude-sonnet-4-6"),
    ],
)
def test_the_longest_name_that_fits(vendor: str, name: str, day: date, successor: str) -> None:
    found = retirement(vendor, name)
    assert found is not None
    assert (found.day, found.successor) == (day, successor)


def test_living_names_are_not_in_the_table() -> None:
    alive = {"qwen": ["qwen-plus", "qwen3.8-max", "qwen3.8-flash", "qwen4-max"], "moonshot": ["kimi-k3.1-pro"]}
    assert [name for vendor, names in alive.items() for name in names if retirement(vendor, name)] == []


def test_successors_are_alive() -> None:
    dead = [one for vendor, rows in RETIRED.items() for one in rows if gone(vendor, one.successor)]
    assert dead == []


def test_check_warns_of_names_that_retire(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(
        """
providers:
  - type: qwen
    apiTokens: [k]
    modelMapping: {"*": qwen-turbo, a: qwen3.8-max, "~^x": qwen-turbo}
    visionModel: qwen-vl-max
    failover: {enabled: true, healthCheckModel: probe}
  - {type: openai, models: [gpt-4, gpt-6-luna]}
  - {id: own, type: openai, openaiCustomUrl: "http://localhost:1234", models: [gpt-4]}
  - {type: moonshot, apiTokens: [k]}
routes:
  - {name: r, provider: [{provider: qwen}, {provider: moonshot, model: kimi-k2.6}, {provider: openai}, {provider: own}]}
"""
    )
    warned = [note for note in load(path, {}).notes if "retires" in note]
    assert warned == [
        "provider qwen: modelMapping: qwen-turbo retires on 2026-10-10; its successor is qwen3.7-flash",
        "provider qwen: visionModel: qwen-vl-max retires on 2026-10-10; its successor is qwen3.7-plus",
        "provider qwen: failover.healthCheckModel: qwen-turbo retires on 2026-10-10; its successor is qwen3.7-flash"
        " (a probe that cannot succeed keeps every key aside)",
        "provider openai: models: gpt-4 retires on 2026-10-23; its successor is gpt-5.6-sol",
        "provider moonshot: the model of a route: kimi-k2.6 retires on 2026-12-31; its successor is kimi-k3.1-pro",
    ]
