"""What a request is about to use: its input, and as much output as it may have.

Rule: pure; a guess that is put right when the request is over. Where nobody says how long an answer may be, it is taken
for as long as most are.
"""

from typing import Final

from extproc.config.clients import Client
from extproc.config.config import Config
from extproc.exchange.states import Record
from extproc.limits.asking import Ask
from extproc.limits.buckets import Rules, Spend, units
from extproc.providers import Provider
from extproc.providers.prices import Price
from extproc.terms.call import CHAT, COMPLETIONS, MESSAGES, RESPONSES, Call
from extproc.terms.frozen import replace
from extproc.terms.usage import Usage, estimate
from extproc.text import jsontext
from extproc.text.jsontext import Fields

USUAL_OUTPUT: Final = 4096
"""Tokens of an answer that nobody limits."""

_WRITING: Final = frozenset({CHAT, COMPLETIONS, RESPONSES, MESSAGES})
_LIMITS: Final = ("max_completion_tokens", "max_tokens", "max_output_tokens", "max_new_tokens")
_NESTED: Final = (
    ("parameters", "max_tokens"),
    ("generationConfig", "maxOutputTokens"),
    ("inferenceConfig", "maxTokens"),
)


def about_to_use(
    config: Config, rules: Rules, client: Client, record: Record, provider: Provider, call: Call
) -> Ask | None:
    """None: no limit applies."""
    buckets = rules.applying(client, record.route or "", provider.id, call.model, call.upstream_model)
    if not buckets:
        return None
    input = 0 if call.body is None else estimate(call.body)
    output = _output(provider, call)
    known, most = Spend(input), Spend(input, output)
    if any(bucket.is_money for bucket in buckets):
        price = config.price(provider.id, call.upstream_model or call.model or "")
        known, most = (replace(spend, money=_money(price, spend)) for spend in (known, most))
    return Ask(buckets, known, most, record.attempt)


def _money(price: Price | None, spend: Spend) -> dict[str, int]:
    cost = None if price is None else price.cost(Usage(spend.input, spend.output))
    return {} if price is None or cost is None else {price.currency.lower(): units(cost)}


def _output(provider: Provider, call: Call) -> int:
    if call.body is None or (provider.protocol == "openai" and call.api not in _WRITING):
        return 0
    said = [n for n in (_number(call.body, name) for name in _LIMITS) if n is not None]
    said += [n for n in (jsontext.peek(call.body[a], b) for a, b in _NESTED if a in call.body) if _is_count(n)]
    most = provider.family(call.upstream_model).output
    output = min(said) if said else most or USUAL_OUTPUT
    answers = _number(call.body, "n") or 1
    return min(output, most or output) * min(answers, 128)


def _number(body: Fields, name: str) -> int | None:
    value = jsontext.peek(body[name]) if name in body else None
    return value if _is_count(value) else None


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
