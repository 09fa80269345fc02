"""deploy/observability: alerts and dashboard as those programs read them that will."""

import json
from pathlib import Path
import re
import subprocess
from typing import Any

from grafana_foundation_sdk.models.dashboard import Dashboard
import pytest
from ruamel.yaml import YAML

from extproc.supervisor.books import Books
from extproc.supervisor.exposition import prometheus_name
from extproc.supervisor.gauges import Gauges
from tests.prometheus import promtool

from .chart import ROOT

WATCH = ROOT / "deploy" / "observability"
ALERTS = WATCH / "alerts.yaml"
DASHBOARD = json.loads((WATCH / "dashboards" / "ai-proxy.json").read_text())
PAGES = [ROOT / "docs" / f"observability{language}.md" for language in ("", ".zh")]


def test_promtool_takes_rules_and_configuration(tmp_path: Path) -> None:
    checked = subprocess.run([promtool(), "check", "rules", str(ALERTS)], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    config = (WATCH / "prometheus.yml").read_text().replace("/etc/prometheus/alerts.yaml", str(ALERTS))
    (tmp_path / "prometheus.yml").write_text(config)
    check = [promtool(), "check", "config", str(tmp_path / "prometheus.yml")]
    done = subprocess.run(check, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_outage_fires_though_the_sidecar_sees_nothing_of_it(tmp_path: Path) -> None:
    outage = {
        "rule_files": [str(ALERTS.resolve())],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [
                    {
                        "series": 'ai_proxy_envoy_answers_total{instance="a",provider="p",status="503",reason="x"}',
                        "values": "0+60x20",
                    },
                    {"series": 'ai_proxy_keys{instance="a",provider="p",state="in_service"}', "values": "0x20"},
                    {"series": 'ai_proxy_keys{instance="a",provider="p",state="resting"}', "values": "2x20"},
                    {"series": 'ai_proxy_keys{instance="a",provider="free",state="in_service"}', "values": "0x20"},
                    {"series": 'ai_proxy_keys{instance="a",provider="free",state="resting"}', "values": "0x20"},
                ],
                "alert_rule_test": [
                    {
                        "eval_time": "15m",
                        "alertname": "AiProxyVendorUnreachable",
                        "exp_alerts": [
                            {
                                "exp_labels": {"severity": "critical", "instance": "a", "provider": "p"},
                                "exp_annotations": {"summary": "a: p cannot be reached"},
                            }
                        ],
                    },
                    {
                        "eval_time": "15m",
                        "alertname": "AiProxyKeysResting",
                        "exp_alerts": [
                            {
                                "exp_labels": {
                                    "severity": "warning",
                                    "instance": "a",
                                    "provider": "p",
                                    "state": "in_service",
                                },
                                "exp_annotations": {"summary": "p: every key rests"},
                            }
                        ],
                    },
                ],
            }
        ],
    }
    path = tmp_path / "test.yaml"
    with path.open("w") as file:
        YAML(typ="safe").dump(outage, file)
    done = subprocess.run([promtool(), "test", "rules", str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_grafana_s_own_types_know_every_member_of_the_dashboard() -> None:
    assert known(Dashboard.from_json(DASHBOARD), DASHBOARD) == DASHBOARD


def known(of: Any, wanted: Any) -> Any:
    """What Grafana's types kept, as far as it was there."""
    if hasattr(of, "to_json"):
        of = of.to_json()
    if isinstance(of, dict):
        return {key: known(value, wanted.get(key)) for key, value in of.items() if key in wanted}
    if isinstance(of, list):
        return [known(value, one) for value, one in zip(of, wanted, strict=True)]
    return getattr(of, "value", of)


def expressions() -> list[str]:
    rules = YAML(typ="safe").load(ALERTS)["groups"]
    return [
        *(rule["expr"] for group in rules for rule in group["rules"]),
        *(target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", ())),
    ]


SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}


def names() -> set[str]:
    """Everything that `/metrics` may have."""
    books = Books()
    books.semconv = "genai-0.1"
    found = {prometheus_name(f) + end for f in (*books.families(), books._usage) for end in SUFFIXES[f.kind]}
    text = Path(Gauges.__init__.__code__.co_filename).read_text()
    gauges = re.findall(r'(gauge|counter)\("(ai_proxy[\w.]*)".*?(unit="s")?\)\n', text)
    for kind, name, unit in gauges:
        found.add(name.replace(".", "_") + ("_total" if kind == "counter" else "_seconds" if unit else ""))
    return found


@pytest.mark.parametrize("expression", expressions())
def test_what_is_asked_for_is_there(expression: str) -> None:
    for name in re.findall(r"\b(?:ai_proxy|gen_ai)_\w+(?=[{\[) ])", expression):
        assert name in names() | {"gen_ai_request_model", "gen_ai_provider_name"}, name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_page_has_every_metric_and_alert(page: Path) -> None:
    text = page.read_text()
    for name in names():
        base = name.removesuffix("_bucket").removesuffix("_sum").removesuffix("_count")
        assert f"`{base}`" in text or base.startswith("gen_ai_client_inference"), base
    rules = YAML(typ="safe").load(ALERTS)["groups"][0]["rules"]
    assert re.findall(r"^\| `(AiProxy\w+)`", text, re.M) == [rule["alert"] for rule in rules]
