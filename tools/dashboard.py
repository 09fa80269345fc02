"""Write deploy/observability/dashboards/ai-proxy.json: Grafana's form of a short table; `--check` says when it is stale.

Rule: every expression is of metrics that `/metrics` has; a test asks a real Prometheus for each.
"""

import json
from pathlib import Path
import sys
from typing import Any, Final

TARGET: Final = Path(__file__).parent.parent / "deploy" / "observability" / "dashboards" / "ai-proxy.json"

_BY: Final = 'client=~"$client", model=~"$model"'
_RATE: Final = "$__rate_interval"
_TTFT: Final = "gen_ai_server_time_to_first_token_seconds_bucket"
_DURATION: Final = "gen_ai_server_request_duration_seconds_bucket"
_PACE: Final = "gen_ai_server_time_per_output_token_seconds_bucket"


def _quantile(share: float, name: str, by: str) -> str:
    return f"histogram_quantile({share}, sum by (le, {by}) (rate({name}[{_RATE}])))"


def _spread(name: str) -> list[tuple[str, str]]:
    by = "gen_ai_request_model"
    return [(_quantile(share, name, by), f"P{share * 100:.0f} {{{{{by}}}}}") for share in (0.5, 0.95)]


ROWS: Final[dict[str, list[tuple[str, str, list[tuple[str, str]]]]]] = {
    "Use": [
        ("Requests", "reqps", [(f"sum by (client, model) (rate(ai_proxy_exchanges_total{{{_BY}}}[{_RATE}]))", "{{client}} {{model}}")]),
        ("Tokens", "short", [(f"sum by (client, model, kind) (rate(ai_proxy_tokens_total{{{_BY}}}[{_RATE}]))", "{{client}} {{model}} {{kind}}")]),
        ("Money in a day", "none", [(f"sum by (client, model, currency) (increase(ai_proxy_cost_total{{{_BY}}}[1d]))", "{{client}} {{model}} {{currency}}")]),
        ("Estimated exchanges", "reqps", [(f"sum by (provider, model) (rate(ai_proxy_estimated_total[{_RATE}]))", "{{provider}} {{model}}")]),
    ],
    "How long": [
        ("Duration", "s", _spread(_DURATION)),
        ("First token", "s", _spread(_TTFT)),
        ("Per token", "s", _spread(_PACE)),
        ("The sidecar itself", "s", [(_quantile(0.95, "ai_proxy_own_duration_seconds_bucket", "provider"), "P95 {{provider}}")]),
    ],
    "What goes wrong": [
        ("Errors", "reqps", [(f"sum by (provider, code) (rate(ai_proxy_errors_total[{_RATE}]))", "{{provider}} {{code}}")]),
        ("Refused here", "reqps", [(f"sum by (client, code) (rate(ai_proxy_refusals_total{{client=~\"$client\"}}[{_RATE}]))", "{{client}} {{code}}")]),
        ("Answered by Envoy itself", "reqps", [(f"sum by (provider, reason) (rate(ai_proxy_envoy_answers_total[{_RATE}]))", "{{provider}} {{reason}}")]),
        ("Retries and cut answers", "reqps", [(f"sum by (provider) (rate(ai_proxy_retries_total[{_RATE}]))", "retry {{provider}}"), (f"sum by (provider) (rate(ai_proxy_cut_total[{_RATE}]))", "cut {{provider}}")]),
    ],
    "Now": [
        ("Keys", "short", [("ai_proxy_keys", "{{provider}} {{state}}"), (f"sum by (provider, reason) (increase(ai_proxy_key_rests_total[{_RATE}]))", "rests {{provider}} {{reason}}")]),
        ("Open exchanges", "short", [("ai_proxy_open", "{{instance}}")]),
        ("Workers", "short", [("ai_proxy_workers", "{{instance}}")]),
        ("Configuration", "short", [("ai_proxy_config_generation", "generation {{instance}}"), ("ai_proxy_config_problems", "problems {{instance}}")]),
    ],
}  # fmt: skip
"""Row → panels: title, unit, expressions with their legends."""


def dashboard() -> dict[str, Any]:
    """The document."""
    panels: list[dict[str, Any]] = []
    for y, (row, figures) in enumerate(ROWS.items()):
        place = {"h": 1, "w": 24, "x": 0, "y": 9 * y}
        panels.append(
            {"id": len(panels) + 1, "type": "row", "title": row, "collapsed": False, "gridPos": place, "panels": []}
        )
        for x, (title, unit, targets) in enumerate(figures):
            panels.append(_panel(len(panels) + 1, title, unit, targets, {"h": 8, "w": 6, "x": 6 * x, "y": 9 * y + 1}))
    return {
        "uid": "ai-proxy",
        "title": "ai-proxy",
        "description": "Use, times, errors and state of the gateway: docs/observability.md",
        "tags": ["ai-proxy"],
        "schemaVersion": 41,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "timezone": "browser",
        "annotations": {"list": []},
        "links": [],
        "templating": {"list": [_variable(name) for name in ("client", "model")]},
        "panels": panels,
    }


_SOURCE: Final = {"type": "prometheus", "uid": "prometheus"}


def _panel(id: int, title: str, unit: str, targets: list[tuple[str, str]], place: dict[str, int]) -> dict[str, Any]:
    return {
        "id": id,
        "type": "timeseries",
        "title": title,
        "datasource": _SOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
        "options": {
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
            "tooltip": {"mode": "multi"},
        },
        "targets": [
            {"refId": chr(ord("A") + n), "datasource": _SOURCE, "expr": expression, "legendFormat": legend}
            for n, (expression, legend) in enumerate(targets)
        ],
    }


def _variable(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "type": "query",
        "datasource": _SOURCE,
        "query": {"query": f"label_values(ai_proxy_exchanges_total, {name})", "refId": name},
        "refresh": 2,
        "includeAll": True,
        "allValue": ".*",
        "multi": True,
        "current": {"text": "All", "value": "$__all"},
        "sort": 1,
    }


def text() -> str:
    return json.dumps(dashboard(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    if "--check" not in sys.argv:
        TARGET.write_text(text())
    elif not TARGET.exists() or TARGET.read_text() != text():
        sys.exit(f"{TARGET} is stale: python tools/dashboard.py")
