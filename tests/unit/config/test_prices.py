"""Money: what a configuration and LiteLLM's table say a model costs, and what is made of it."""

from decimal import Decimal
import gc
import json
from pathlib import Path
from typing import Any
import weakref

from click.testing import CliRunner
import pytest

from extproc.cli.commands import cli
from extproc.config.config import Config, ConfigError
from extproc.config.load import Loaded, load
from extproc.config.pricing import VENDORS, built_in
from extproc.providers.prices import Price
from extproc.terms.events import ResponseBody
from extproc.terms.usage import NOT_COUNTED, Usage
from tests.unit.exchange.test_counting import FINISH, PIECES, USAGE, opened
from tests.unit.exchange.test_watched import STREAMED
from tests.unit.exchanges import HEAD, SSE, VIA
from tests.unit.player import Play, config_of
from tests.unit.vectors import dump


def D(text: str) -> Decimal:
    return Decimal(text)


def priced(**rates: Decimal) -> Price:
    return Price.model_validate(rates)


PRICE = Price.model_validate({"input": 2.5, "cachedInput": 1.25, "cacheWrite": 3, "cacheWriteHour": 6, "output": 10})


@pytest.mark.parametrize(
    ("price", "usage", "expected"),
    [
        (PRICE, Usage(1_000_000, 1_000_000, 2_000_000), D("12.5")),
        (PRICE, Usage(1, 1, 2), D("0.0000125")),
        (PRICE, Usage(100, 10, 110, cached_tokens=40), D("0.0003")),
        (PRICE, Usage(100, 10, 110, cached_tokens=40, cache_write_tokens=30, long_write_tokens=10), D("0.000345")),
        (PRICE, Usage(5, None, 5), D("0.0000125")),
        (PRICE, NOT_COUNTED, None),
        (PRICE, Usage(images=2), None),
        (priced(input=D("1")), Usage(5, 5, 10), None),
        (priced(input=D("1")), Usage(5, None, 5), D("0.000005")),
        (priced(image=D("0.04")), Usage(images=3), D("0.12")),
        (priced(second=D("0.0001")), Usage(seconds=7.5), D("0.00075")),
        (priced(characters=D("15")), Usage(characters=2000), D("0.03")),
        (priced(input=D("1"), output=D("2"), request=D("0.005")), Usage(1000, 1000, 2000), D("0.008")),
        (priced(input=D("1"), output=D("2"), thinking=D("4")), Usage(0, 10, 10, reasoning_tokens=4), D("0.000028")),
        (
            priced(input=D("1"), output=D("2"), inputAudio=D("40"), outputAudio=D("80")),
            Usage(10, 10, 20, prompt_audio_tokens=5, completion_audio_tokens=5),
            D("0.000615"),
        ),
        (PRICE, Usage(10, 10, 20, cached_tokens=99, cache_write_tokens=99), D("0.0001125")),
    ],
    ids=str,
)
def test_what_was_used_costs(price: Price, usage: Usage, expected: Decimal | None) -> None:
    assert price.cost(usage) == expected


@pytest.mark.parametrize(("tokens", "expected"), [(32_000, "0.032"), (32_001, "0.064002"), (200_000, "0.8")])
def test_a_longer_prompt_has_another_rate_for_all_of_it(tokens: int, expected: str) -> None:
    tiers = [{"above": 32_000, "input": 2}, {"above": 128_000, "input": 4}]
    price = Price.model_validate({"input": 1, "output": 1, "tiers": tiers})
    assert price.cost(Usage(tokens, 0, tokens)) == D(expected)


def test_a_rate_that_a_tier_does_not_say_is_the_price_s_own() -> None:
    price = Price.model_validate({"input": 4, "output": 8, "cachedInput": 1, "tiers": [{"above": 10, "input": 6}]})
    usage = Usage(prompt_tokens=20, completion_tokens=1, total_tokens=21, cached_tokens=5)
    assert price.cost(usage) == D("0.000001") * (15 * 6 + 5 * 1 + 8)
    assert price.cost(Usage(10, 1, 11)) == D("0.000001") * (10 * 4 + 8)


def test_costs_add_up_to_the_last_digit() -> None:
    price = Price.model_validate({"input": 0.1, "output": 0.7})
    one = price.cost(Usage(3, 1, 4))
    assert one is not None
    assert sum([one] * 1_000_000, Decimal(0)) == D("1")


def loaded(tmp_path: Path, more: str, name: str = "qwen") -> Loaded:
    file = tmp_path / "config.yaml"
    file.write_text(f"providers:\n- {{type: {name}, apiTokens: [sk-q]}}\n{more}")
    return load(file, {})


def test_the_configuration_wins(tmp_path: Path) -> None:
    config = loaded(
        tmp_path,
        "prices:\n  qwen:\n    qwen-max: {input: 7, output: 8, currency: CNY}\n    'qwen-t*': {input: 1, output: 1}\n",
    ).config
    assert (found := config.price("qwen", "qwen-max")) is not None
    assert (found.input, found.currency) == (7, "CNY")
    assert (found := config.price("qwen", "qwen-turbo")) is not None
    assert found.input == 1
    assert (found := config.price("qwen", "qwen3-max")) is not None
    assert ([tier.above for tier in found.tiers], found.currency) == ([32_000, 128_000], "USD")
    assert config.price("qwen", "qwen-nobody-knows") is None


def test_a_table_of_ones_own(tmp_path: Path) -> None:
    entry = {"litellm_provider": "dashscope", "input_cost_per_token": 1e-06, "output_cost_per_token": 2e-06}
    (tmp_path / "table.json").write_text(json.dumps({"sample_spec": {}, "dashscope/qwen-x": entry}))
    config = loaded(tmp_path, "pricesFile: table.json\n").config
    assert (found := config.price("qwen", "qwen-x")) is not None
    assert (found.input, found.output) == (1, 2)
    assert config.price("qwen", "qwen-max") is None


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (
            "prices: {qwem: {m: {input: 1}}}\n",
            "config.yaml:3: prices.qwem: there is no provider 'qwem' (did you mean",
        ),
        ("prices:\n  qwen:\n    m: {input: -1}\n", "config.yaml:5: prices.qwen.m.input: "),
        ("prices:\n  qwen:\n    m: {inputs: 1}\n", "(did you mean input?)"),
        ("prices:\n  qwen:\n    m: {currency: dollars, input: 1}\n", "config.yaml:5: prices.qwen.m.currency: "),
        ("prices:\n  qwen:\n    m: {}\n", "config.yaml:5: prices.qwen.m: says no price"),
        (
            "prices:\n  qwen:\n    m: {input: 1, tiers: [{above: 9}, {above: 8}]}\n",
            "prices.qwen.m: tiers must rise",
        ),
        ("prices:\n  qwen:\n    m: {input: .inf}\n", "config.yaml:5: prices.qwen.m.input: "),
        ("prices:\n  qwen:\n    m: {input: much}\n", "config.yaml:5: prices.qwen.m.input: "),
        ("pricesFile: nowhere.json\n", "config.yaml:3: pricesFile: "),
        ("pricesFile: config.yaml\n", "it is not JSON"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(tmp_path: Path, more: str, said: str) -> None:
    with pytest.raises(ConfigError) as raised:
        loaded(tmp_path, more)
    assert said in str(raised.value)


def test_the_built_in_table_can_be_read_and_knows_our_vendors() -> None:
    table = built_in()
    assert all(table.price(*key) is None or table.price(*key) for key in table.entries)
    assert {vendor for vendor, _ in table.entries} >= {
        "openai",
        "azure",
        "claude",
        "gemini",
        "qwen",
        "moonshot",
        "deepseek",
    }
    assert {vendor for vendor, _ in table.entries} <= VENDORS.keys()
    assert (found := table.price("openai", "gpt-4o")) is not None
    assert (found.input, found.cached_input, found.output) == (D("2.5"), D("1.25"), D("10"))


def played(prices: dict[str, Any], *pieces: bytes) -> Play:
    provider = {"id": "p", "type": "generic", "genericHost": "h", "apiTokens": ["sk-p"], "modelMapping": {"*": "v"}}
    play = Play(config_of({"providers": [provider], "prices": prices}))
    play.request(HEAD, dump(STREAMED), {})
    if pieces:
        play.response(SSE, pieces, attributes=VIA)
    else:
        opened(play.exchange, SSE)
        play.exchange.handle(ResponseBody(PIECES[0], False))
    return play


def test_an_exchange_knows_its_cost() -> None:
    play = played(
        {"p": {"v": {"input": 1, "output": 2, "currency": "EUR"}}}, *PIECES, FINISH, USAGE, b"data: [DONE]\n\n"
    )
    assert (play.exchange.record.cost, play.exchange.record.currency) == (D("0.00011"), "EUR")
    assert play.seen.metadata["cost"] == 0.00011
    assert play.seen.metadata["currency"] == "EUR"


def test_a_cut_one_too_and_who_has_no_price_has_no_cost() -> None:
    play = played({"p": {"v": {"input": 1, "output": 2}}})
    play.exchange.close()
    assert play.exchange.record.cost is not None
    assert play.exchange.record.usage.estimated
    play = played({}, *PIECES, FINISH, USAGE, b"data: [DONE]\n\n")
    assert (play.exchange.record.cost, play.exchange.record.currency) == (None, None)
    assert "cost" not in play.seen.metadata


def test_prices_are_shown(tmp_path: Path) -> None:
    loaded(tmp_path, "prices: {qwen: {qwen-max: {input: 7, output: 8, currency: CNY}}}\n")
    run = CliRunner().invoke(cli, ["prices", "qwen-max", "--config", str(tmp_path / "config.yaml"), "--json"])
    assert json.loads(run.output) == [
        {"provider": "qwen", "model": "qwen-max", "input": "7", "output": "8", "currency": "CNY", "source": "prices"}
    ]
    run = CliRunner().invoke(cli, ["prices", "--config", str(tmp_path / "config.yaml")])
    assert "qwen3-max" not in run.output or "built-in table (litellm" in run.output
    run = CliRunner().invoke(cli, ["prices", "nobody", "--config", str(tmp_path / "config.yaml")])
    assert run.exit_code != 0


def test_a_configuration_whose_prices_were_asked_for_goes_with_its_last_exchange() -> None:
    """By this it is known that its exchanges are over; nothing looks for circles in a worker."""
    config = Config.model_validate({"providers": [{"type": "openai", "apiTokens": ["k"]}]})
    assert config.price("openai", "gpt-4o") is config.price("openai", "gpt-4o") is not None
    seen = weakref.ref(config)
    gc.disable()
    try:
        del config
        assert seen() is None
    finally:
        gc.enable()
