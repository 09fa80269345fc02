"""What all workers count, summed up; written for Prometheus, whose own library is the referee."""

from decimal import Decimal
import time

from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as plain
import pytest

from extproc.envoy.lines import Told
from extproc.supervisor import books, exposition, families
from extproc.supervisor.books import Books, Deltas
from extproc.supervisor.exposition import wants_openmetrics, written
from extproc.terms.tallies import (
    FIRST_SECONDS,
    OTHER,
    OWN_SECONDS,
    PACE_SECONDS,
    SECONDS,
    TOKENS,
    Key,
    Spread,
    Tally,
)
from extproc.worker.channel import Counted

KEY = Key("alice", "messages", "chat", "r", "p", "gpt", "qwen", "2xx", "", False, False)
ODD = 'a"b\\c\nd=}, 中'


def tally(value: float = 0.3) -> Tally:
    made = Tally(exchanges=2, retries=1, cut=1, input=10, cached=4, output=7, costs={"USD": Decimal("0.0000012")})
    for spread, bounds in (
        (made.duration, SECONDS),
        (made.first, FIRST_SECONDS),
        (made.pace, PACE_SECONDS),
        (made.own, OWN_SECONDS),
        (made.asked, TOKENS),
        (made.told, TOKENS),
    ):
        spread.add(value, bounds)
    return made


def key(**more: object) -> Key:
    return Key(**({name: getattr(KEY, name) for name in Key.__struct_fields__} | more))  # type: ignore[arg-type]


def read(kept: Books) -> dict[str, float]:
    """Name and labels → value, as Prometheus' library reads both forms; they say the same."""
    found = []
    for parse, is_openmetrics in ((openmetrics, True), (plain, False)):
        text = written(kept.families(), openmetrics=is_openmetrics).decode()
        found.append(
            {
                f"{s.name}{{{','.join(f'{k}={v}' for k, v in s.labels.items())}}}": s.value
                for family in parse(text)
                for s in family.samples
            }
        )
    assert found[0] == found[1]
    return found[0]


def filled(*deltas: tuple[Key, Tally], models: tuple[str, ...] = ("gpt", "qwen")) -> Books:
    kept = Books()
    kept.models = frozenset(models)
    kept.count(1, Counted(list(deltas), 0, {}))
    return kept


def test_everything_is_there_by_its_labels() -> None:
    said = read(filled((KEY, tally())))
    who = "client=alice,route=r,provider=p,model=qwen"
    assert said["ai_proxy_exchanges_total{client=alice,front=messages,route=r,provider=p,model=qwen,status=2xx}"] == 2
    assert said[f"ai_proxy_tokens_total{{{who},kind=input}}"] == 10
    assert said[f"ai_proxy_tokens_total{{{who},kind=cached}}"] == 4
    assert f"ai_proxy_tokens_total{{{who},kind=written}}" not in said  # none
    assert said[f"ai_proxy_cost_total{{{who},currency=USD}}"] == 0.0000012
    assert said["ai_proxy_retries_total{route=r,provider=p}"] == said["ai_proxy_cut_total{route=r,provider=p}"] == 1
    about = "gen_ai_operation_name=chat,gen_ai_provider_name=p,gen_ai_request_model=qwen,ai_proxy_route=r"
    assert said[f"gen_ai_server_request_duration_seconds_bucket{{{about},error_type=,le=0.16}}"] == 0
    assert said[f"gen_ai_server_request_duration_seconds_bucket{{{about},error_type=,le=0.32}}"] == 1
    assert said[f"gen_ai_server_request_duration_seconds_bucket{{{about},error_type=,le=+Inf}}"] == 1
    assert said[f"gen_ai_server_request_duration_seconds_sum{{{about},error_type=}}"] == 0.3
    assert said[f"gen_ai_server_time_to_first_token_seconds_count{{{about}}}"] == 1
    assert said[f"gen_ai_server_time_per_output_token_seconds_count{{{about}}}"] == 1
    assert said[f"gen_ai_client_token_usage_count{{{about},gen_ai_token_type=output}}"] == 1
    assert said["ai_proxy_own_duration_seconds_count{route=r,provider=p}"] == 1
    assert not any(name.startswith(("ai_proxy_refusals", "ai_proxy_errors", "ai_proxy_estimated")) for name in said)


def test_refusals_errors_and_estimates() -> None:
    refused = key(provider="", route="", model="gpt", sent="", status="4xx", error="no_route", refused=True)
    said = read(filled((refused, tally()), (key(status="5xx", error="overloaded", estimated=True), tally())))
    assert said["ai_proxy_refusals_total{client=alice,front=messages,code=no_route}"] == 2
    assert said["ai_proxy_errors_total{route=,provider=,code=no_route}"] == 2
    assert said["ai_proxy_errors_total{route=r,provider=p,code=overloaded}"] == 2
    assert said["ai_proxy_estimated_total{provider=p,model=qwen}"] == 2
    assert sum(name.startswith("gen_ai_server_request_duration_seconds_count") for name in said) == 1


def test_workers_add_up_and_what_is_counted_never_goes_down() -> None:
    kept = filled((KEY, tally()))
    kept.count(2, Counted([(KEY, tally())], 3, {"p": 1}))
    kept.count(1, Counted([], 2, {"p": 2}))
    name = "ai_proxy_exchanges_total{client=alice,front=messages,route=r,provider=p,model=qwen,status=2xx}"
    assert read(kept)[name] == 4
    assert read(kept)["ai_proxy_open{}"] == 5
    assert kept.resting("p") == 2
    kept.forget(1)
    assert read(kept)[name] == 4
    assert read(kept)["ai_proxy_open{}"] == 3
    assert kept.resting("p") == 1


def test_costs_add_up_to_the_last_digit() -> None:
    kept = Books()
    for _ in range(1000):
        kept.count(1, Counted([(KEY, Tally(costs={"USD": Decimal("0.0000001")}))], 0, {}))
    assert b'currency="USD"} 0.0001000\n' in written(kept.families(), openmetrics=False)


def test_names_that_nobody_mentions_are_other_whatever_they_look_like() -> None:
    said = read(filled((key(sent=ODD), tally()), (key(sent="", model=ODD), tally()), (key(client=ODD), tally())))
    assert any(f"model={OTHER}" in name for name in said)
    assert sum(ODD in name for name in said if name.startswith("ai_proxy_exchanges")) == 1  # the client's, configured
    assert f"ai_proxy_exchanges_total{{client={ODD},front=messages,route=r,provider=p,model=qwen,status=2xx}}" in said


def test_the_history_hears_of_names_that_a_vendor_answered_to_as_far_as_there_is_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(books, "MOST_NAMES", 2)
    kept, heard = Books(), []

    def hear(deltas: Deltas) -> None:
        heard.extend((k.model, k.sent) for k, _ in deltas)

    kept.models = frozenset({"known"})
    kept.feeds.append(hear)
    for number, (model, status) in enumerate(
        [("known", "4xx"), ("a", "4xx"), ("a", "2xx"), ("a", "5xx"), ("b", "2xx"), ("c", "2xx")]
    ):
        kept.count(1, Counted([(key(model=model, sent="", status=status), tally())], number, {}))
    kept.count(1, Counted([], 9, {}))
    assert [model for model, _ in heard] == ["known", OTHER, "a", "a", "b", OTHER]


def test_a_family_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(families, "MOST_SERIES", 30)
    kept = filled(*((key(client=f"c{n}", route=f"r{n}"), tally()) for n in range(100)))
    said = read(kept)
    counts = [value for name, value in said.items() if name.startswith("ai_proxy_exchanges_total")]
    assert (len(counts), sum(counts)) == (31, 200)
    assert sum(v for n, v in said.items() if n.startswith("gen_ai_server_request_duration_seconds_count")) == 100


def test_key_rests() -> None:
    kept = Books()
    for aside in (True, False, False):
        kept.rested("p", aside=aside)
    said = read(kept)
    assert said["ai_proxy_key_rests_total{provider=p,reason=failed}"] == 1
    assert said["ai_proxy_key_rests_total{provider=p,reason=asked}"] == 2


def test_what_never_reaches_a_worker_is_there_all_the_same() -> None:
    kept = Books()
    about = {"route": "r", "provider": "p", "status": 503, "details": "no_healthy_upstream"}
    kept.told(Told("answer", about))
    kept.told(Told("answer", {**about, "details": "upstream_reset_before_response_started{overflow}"}))
    kept.told(Told("answer", {"status": 400, "details": "http1.codec_error"}))
    kept.told(Told("attempt", {"provider": "p", "host": "h"}, "upstream_unavailable"))
    kept.told(Told("end", {"request_id": "i"}, "client_left"))
    said = read(kept)
    assert said["ai_proxy_envoy_answers_total{route=r,provider=p,status=503,reason=no_healthy_vendor}"] == 1
    assert said["ai_proxy_envoy_answers_total{route=r,provider=p,status=503,reason=overflow}"] == 1
    assert said["ai_proxy_envoy_answers_total{route=,provider=,status=400,reason=other}"] == 1
    assert said["ai_proxy_envoy_failures_total{provider=p,reason=upstream_unavailable}"] == 1
    assert sum(name.startswith("ai_proxy_envoy") for name in said) == 4


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", False),
        ("*/*", False),
        ("text/plain", False),
        ("application/openmetrics-text", True),
        ("application/openmetrics-text; version=1.0.0", True),
        # Prometheus 2.42 and 3
        (
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
            "text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            True,
        ),
        (
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,application/openmetrics-text;"
            "version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,"
            "*/*;q=0.1",
            True,
        ),
        ("application/openmetrics-text;version=0.0.1", False),
        ("text/plain;q=0.9, application/openmetrics-text;q=0.5", False),
        ("application/openmetrics-text;q=x", False),
    ],
)
def test_which_form_a_scraper_gets(accept: str, expected: bool) -> None:
    assert wants_openmetrics(accept) is expected


def test_openmetrics_ends_and_says_units() -> None:
    text = written(filled((KEY, tally())).families(), openmetrics=True).decode()
    assert text.endswith("# EOF\n")
    assert "# UNIT gen_ai_server_request_duration_seconds seconds\n" in text
    assert "# EOF" not in written([], openmetrics=False).decode()


def test_many_clients_and_models_are_written_in_a_tenth_of_a_second() -> None:
    models = tuple(f"model-{n}" for n in range(50))
    kept = filled(
        *((key(client=f"client {c}", sent=model), tally()) for c in range(200) for model in models), models=models
    )
    written(kept.families(), openmetrics=True)

    def took() -> float:
        began = time.process_time()
        written(kept.families(), openmetrics=True)
        return time.process_time() - began

    assert any(took() < 0.1 for _ in range(20))  # a busy machine's processors are slower at times
    text = written(kept.families(), openmetrics=True)
    assert text.count(b"\nai_proxy_tokens_total{") == 200 * 50 * 3


def test_numbers() -> None:
    assert exposition._number(1) == "1"
    assert exposition._number(0.5) == "0.5"
    assert exposition._number(Decimal("1E-7")) == "0.0000001"
    assert Spread().counts == []
