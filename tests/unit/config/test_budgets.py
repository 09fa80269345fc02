"""Budgets in money: one that would count nothing is an error at start, and what is reserved is money."""

from pathlib import Path

import pytest

from extproc.config.load import ConfigError, load
from extproc.exchange.exchange import Exchange, Moment, Snapshot
from extproc.limits.buckets import Rules
from extproc.terms.events import Forward, RequestBody, RequestHeaders
from tests.unit.exchanges import HEAD
from tests.unit.player import NOW, config_of

OWN = "clients: [{name: a, key: key-of-alice, limits: [{usd: 50, per: month}]}]\n"
PRICE = "prices: {p: {m: {input: 1, output: 2, currency: CNY}}}\n"


def provider(more: str = "") -> str:
    return f"providers: [{{id: p, type: openai, apiTokens: [sk-a]{more}}}]\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (provider(", modelMapping: {'*': m}") + OWN, "clients[0].limits[0].usd: would count nothing"),
        (provider(", modelMapping: {'*': m}") + PRICE + OWN, "there is no price in USD for m at p"),
        (provider() + "limits: [{match: {models: [m, gpt-4o]}, usd: 5, per: day}]\n", "limits[0].usd: would count"),
    ],
)
def test_a_budget_for_a_model_without_a_price_is_an_error(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(ConfigError) as error:
        load(tmp_path / "c.yaml", {})
    assert said in str(error.value)


def test_models_without_a_price_among_others_are_told(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(provider(", models: [gpt-4o, m]") + OWN)
    assert any("does not count m at p" in note for note in load(tmp_path / "c.yaml", {}).notes)


def test_money_is_reserved_by_prices() -> None:
    config = config_of(
        {
            "providers": [{"id": "p", "type": "openai", "apiTokens": ["sk-a"]}],
            "prices": {"p": {"m": {"input": 2, "output": 10}}},
            "clients": [{"name": "a", "key": "key-of-alice", "limits": [{"usd": 50, "per": "month"}]}],
        }
    )
    exchange = Exchange(Snapshot(config, {}, rules=Rules(config)), Moment(NOW, 5))
    exchange.handle(RequestHeaders({**HEAD, "authorization": "Bearer key-of-alice"}, False))
    reply = exchange.handle(RequestBody(b'{"model":"m","max_tokens":1000,"messages":[{"role":"user","content":"hi"}]}'))
    assert isinstance(reply, Forward)
    assert exchange.ask is not None
    input = exchange.ask.known.input
    assert exchange.ask.known.money == {"usd": input * 2_000_000}
    assert exchange.ask.most.money == {"usd": input * 2_000_000 + 1000 * 10_000_000}
