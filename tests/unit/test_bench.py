"""The benchmark's pure parts: ratios and verdicts, what the report says of them, and that tables fit together."""

from collections.abc import Mapping
import json
import re
from typing import Any

import pytest

from extproc._pb import extproc_pb2 as pb
from extproc.envoy import bootstrap
from tests.bench import noop, profiles, report, targets
from tests.bench.__main__ import DOCS
from tests.bench.scenarios import SCENARIOS, SPECIAL
from tests.bench.servers import without_processor

EVERY = {scenario.name: scenario for scenario in (*SCENARIOS, *SPECIAL)}


def measured(requests: int = 100, p50: float = 1.0, cpu: float = 1.0, chunks: int = 0) -> dict[str, Any]:
    load = {"requests": requests, "cancelled": 0, "chunks": chunks, "errors": {}, "seconds": 1.0, "cpu_seconds": 0.1}
    times = {"p50": p50, "p90": p50, "p99": p50, "max": p50}
    worker = {"envoy": cpu / 2, "worker": cpu / 2, "vendor": 9.0}
    memory = {"envoy": 70.0, "worker": 70.0, "vendor": 10.0}
    return {
        "load": {**load, "latency_ms": times, "first_ms": times},
        "cpu_seconds": worker,
        "messages": 4.0,
        "resident_mib": memory,
        "peak_mib": memory,
    }


def rows(scenario: str, **arms: Any) -> dict[str, Any]:
    """A run with one scenario. An arm: its repetitions, or why it failed."""
    found = {
        arm.replace("_", "-"): {"problem": each, "repetitions": []} if isinstance(each, str) else {"repetitions": each}
        for arm, each in arms.items()
    }
    return {scenario: {"name": scenario, "arms": found}}


def verdict(found: Mapping[str, Any], figure: str) -> targets.Verdict:
    [one] = [v for v in targets.verdicts(found) if v.target.figure.startswith(figure)]
    return one


WHOLE = "requests/s, qwen native whole: us ÷ do-nothing, same phases"
CASES = {
    "ratios are taken within a repetition, their median counts": (
        rows(
            "qwen-whole",
            us=[measured(90), measured(40), measured(10)],
            noop_whole=[measured(100), measured(50), measured(10)],
        ),
        (WHOLE, 0.9, 0.8, 1.0, True),
    ),
    "below the bound": (
        rows("qwen-whole", us=[measured(84)], noop_whole=[measured(100)]),
        (WHOLE, 0.84, 0.84, 0.84, False),
    ),
    "CPU is the gateway's, not the vendor's": (
        rows("openai-whole", us=[measured(200, cpu=1)], litellm=[measured(10, cpu=2)]),
        ("requests per CPU second, openai whole: us ÷ LiteLLM", 40, 40, 40, True),
    ),
    "what is added to plain Envoy": (
        rows("latency-openai", us=[measured(p50=1.6)], noop_whole=[measured(p50=2.0)], envoy=[measured(p50=1.0)]),
        ("added latency p50, one connection, openai whole: us ÷ do-nothing with", 0.6, 0.6, 0.6, True),
    ),
    "at most": (
        rows("openai-1m", us=[measured(cpu=5)], noop_echo=[measured(cpu=2)], envoy=[measured(cpu=1)]),
        ("added CPU, 1 MB", 4, 4, 4, False),
    ),
    "nothing wanted, nothing met": (
        rows("openai-whole", us=[measured(cpu=4)], envoy=[measured(cpu=1)]),
        ("requests per CPU second, openai pass-through", 0.25, 0.25, 0.25, None),
    ),
    "memory per stream": (
        {"idle-streams": {"arms": {"us": {"kib_per_stream": {"worker": 34.0}}}}},
        ("memory of an open", 34, 34, 34, True),
    ),
    "growth: the last quarter over the second": (
        {"soak": {"arms": {"us": {"resident_mib": [1, 1, 100, 100, 105, 105, 110, 110]}}}},
        ("resident memory in the soak", 1.1, 1.1, 1.1, False),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_verdicts(name: str) -> None:
    found, (figure, median, low, high, met) = CASES[name]
    said = verdict(found, figure)
    assert said.spread is not None
    assert (said.spread.median, said.spread.low, said.spread.high) == pytest.approx((median, low, high))
    assert said.met is met


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        ({}, "was not run"),
        (rows("qwen-whole", us="boom", noop_whole=[measured()]), "us failed"),
        (rows("qwen-whole", us=[measured()]), "noop-whole failed"),
    ],
)
def test_what_was_not_measured_has_a_reason_and_no_verdict(found: Mapping[str, Any], reason: str) -> None:
    said = verdict(found, WHOLE)
    assert said.met is None
    assert reason in said.reason


def test_costs_are_the_line_through_two_lengths() -> None:
    short, long = measured(10, cpu=2 * 10 * 0.003), measured(10, cpu=2 * 10 * 0.011)  # 3 and 11 ms of each process
    found = {**rows("qwen-paced-20", us=[short]), **rows("qwen-paced-100", us=[long])}
    wanted = {"event_ms": 0.1, "stream_ms": 1.0, "envoy_event_ms": 0.1, "envoy_stream_ms": 1.0}
    assert targets.costs(found) == pytest.approx(wanted)


def test_costs_have_the_names_of_the_capacity_page() -> None:
    page = (DOCS / "capacity.md").read_text(encoding="utf-8")
    every: dict[str, Any] = {"idle-streams": {"arms": {"us": {"kib_per_stream": {"worker": 1, "envoy": 1}}}}}
    for name in ("qwen-whole", "qwen-paced-20", "qwen-paced-100", "openai-paced-20", "openai-paced-100"):
        every |= rows(name, us=[measured()])
    names = targets.costs(every)
    assert len(names) == 9
    assert [name for name in names if f"| `{name}` |" not in page] == []


def document(found: Mapping[str, Any], effort: str = "full") -> dict[str, Any]:
    return {"run": {"effort": effort}, "rows": list(found.values()), "profiles": []}


def test_an_arm_that_failed_is_in_the_report() -> None:
    good = {arm: [measured()] for arm in EVERY["qwen-whole"].arms if arm != "us"}
    text = report.rendered(document(rows("qwen-whole", us="status 500 | no\nend", **good)))
    assert "| `us` | failed: status 500 ¦ no end |" in text
    assert "| `envoy` | 100 (100–100) | 1.00 |" in text


def test_only_a_full_run_may_be_quoted() -> None:
    assert "not for quoting" in report.rendered(document({}, "quick"))
    assert "not for quoting" not in report.rendered(document({}))


def test_pages_get_the_table_between_their_marks() -> None:
    page = "before\n<!-- bench -->\nold\n<!-- /bench -->\nafter\n"
    found = document(rows("qwen-whole", us=[measured(cpu=0.4)]))
    assert report.with_costs(page, found, "english") == (
        "before\n<!-- bench -->\n| one request | CPU of Envoy, ms | of the sidecar, ms | messages | added p50, ms |\n"
        "|---|---:|---:|---:|---:|\n| `qwen-whole` | 2.00 | 2.00 | 4.0 | – |\n<!-- /bench -->\nafter\n"
    )


def test_the_documents_are_what_the_results_say() -> None:
    results = json.loads((DOCS / "benchmarks" / "results.json").read_text(encoding="utf-8"))
    assert (DOCS / "benchmarks" / "report.md").read_text(encoding="utf-8") == report.rendered(results)
    for name, language in (("performance.md", "english"), ("performance.zh.md", "chinese")):
        page = (DOCS / name).read_text(encoding="utf-8")
        assert page == report.with_costs(page, results, language)


@pytest.mark.parametrize("target", targets.TARGETS, ids=lambda target: target.figure)
def test_every_target_has_its_scenario_and_every_scenario_its_phases(target: targets.Target) -> None:
    scenario = EVERY[target.scenario]
    assert "us" in scenario.arms
    assert {arm.removeprefix("noop-") for arm in scenario.arms if arm.startswith("noop-")} <= set(noop.PHASES)


@pytest.mark.parametrize(
    ("phases", "head", "body"), [("two", "SKIP", "NONE"), ("headers", "SEND", "NONE"), ("stream", "SEND", "STREAMED")]
)
def test_the_do_nothing_processor_asks_for_its_phases(phases: str, head: str, body: str) -> None:
    answers = noop.answers(phases)
    for message in (
        pb.ProcessingRequest(request_body={"body": b"x"}),
        pb.ProcessingRequest(response_body={"body": b"x"}),
    ):
        assert pb.ProcessingResponse.FromString(answers[message.SerializeToString()[0]]).WhichOneof("response")
    first = pb.ProcessingResponse.FromString(answers[pb.ProcessingRequest(request_headers={}).SerializeToString()[0]])
    assert first.mode_override.response_header_mode == pb.ProcessingMode.HeaderSendMode.Value(head)
    assert first.mode_override.response_body_mode == pb.ProcessingMode.BodySendMode.Value(body)


def test_plain_envoy_has_nothing_of_ours() -> None:
    whole = bootstrap.bootstrap(bootstrap.example_config(), bootstrap.Options())
    assert re.search("ext_proc|json_to_metadata|set_filter_state", whole)
    plain = json.dumps(without_processor(json.loads(whole)))
    assert not re.search("ext_proc|json_to_metadata|set_filter_state|lua", plain)


def test_own_time_is_that_of_the_innermost_function() -> None:
    assert profiles.own_time("main;read 3\nmain;handle;parse 6\nmain;handle 1") == [
        ("parse", 0.6),
        ("read", 0.3),
        ("handle", 0.1),
    ]
