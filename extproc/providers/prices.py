"""What an exchange cost: a model's price and what was used give an amount of money.

Rule: pure and in decimals, so that costs add up to the last digit. What has no price is not free: nobody knows.
"""

from decimal import Decimal
from typing import Annotated, Final, Self

from pydantic import Field, model_validator

from extproc.providers.blocks import Block
from extproc.terms.usage import Usage

Amount = Annotated[Decimal, Field(ge=0, le=1_000_000_000, allow_inf_nan=False)]


class Rates(Block):
    """Of a million tokens. `cachedInput`: read from a cache, `cacheWrite`: written to one, `cacheWriteHour`: for an
    hour. `thinking`: of the output. `inputAudio`, `outputAudio`: sound. What is not said costs as that of
    which it is a part."""

    input: Amount | None = None
    output: Amount | None = None
    cached_input: Amount | None = None
    cache_write: Amount | None = None
    cache_write_hour: Amount | None = None
    thinking: Amount | None = None
    input_audio: Amount | None = None
    output_audio: Amount | None = None


class PriceTier(Rates):
    """The rates where a prompt has more than `above` tokens, of all its tokens."""

    above: int = Field(gt=0)


class Price(Rates):
    """What a model costs. `image`: one that is made; `second`: of sound or film; `characters`: a million of them;
    `request`: each exchange. `tiers`: by the prompt's length. `currency`: ISO 4217."""

    image: Amount | None = None
    second: Amount | None = None
    characters: Amount | None = None
    request: Amount | None = None
    tiers: tuple[PriceTier, ...] = ()
    currency: str = Field(default="USD", pattern=r"^[A-Z]{3}$")

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.model_fields_set - {"currency", "tiers"}:
            raise ValueError("says no price: give input and output, image, second, characters or request")
        above = [tier.above for tier in self.tiers]
        if above != sorted(set(above)):
            raise ValueError("tiers must rise: each begins above more tokens than the one before")
        return self

    def cost(self, usage: Usage) -> Decimal | None:
        """What `usage` cost; None where a part of it has no price, or nothing is known to have been used."""
        rates: Rates = self
        for tier in self.tiers:
            if (usage.prompt_tokens or 0) > tier.above:
                rates = tier
        spent = None
        for count, names in _tokens(usage):
            if count:
                if (rate := _rate(rates, self, names)) is None:
                    return None
                spent = (spent or _ZERO) + rate * count
        cost = None if spent is None else spent * _MILLION
        for amount, rate, unit in (
            (usage.images, self.image, _ONE),
            (usage.seconds, self.second, _ONE),
            (usage.characters, self.characters, _MILLION),
        ):
            if amount:
                if rate is None:
                    return None
                cost = (cost or _ZERO) + Decimal(str(amount)) * rate * unit
        return None if cost is None else cost + (self.request or _ZERO)


_ZERO: Final = Decimal(0)
_ONE: Final = Decimal(1)
_MILLION: Final = Decimal("0.000001")

_Names = tuple[str, ...]


def _rate(rates: Rates, base: Rates, names: _Names) -> Decimal | None:
    for name in names:
        found: Decimal | None = getattr(rates, name)
        if found is None and rates is not base:
            found = getattr(base, name)
        if found is not None:
            return found
    return None


def _tokens(usage: Usage) -> tuple[tuple[int, _Names], ...]:
    """Counts, none of them twice, with the names of their rates, the most exact first."""
    prompt, output = usage.prompt_tokens or 0, usage.completion_tokens or 0
    cached = min(usage.cached_tokens or 0, prompt)
    written = min(usage.cache_write_tokens or 0, prompt - cached)
    long = min(usage.long_write_tokens or 0, written)
    heard = min(usage.prompt_audio_tokens or 0, prompt - cached - written)
    thought = min(usage.reasoning_tokens or 0, output)
    spoken = min(usage.completion_audio_tokens or 0, output - thought)
    return (
        (prompt - cached - written - heard, ("input",)),
        (output - thought - spoken, ("output",)),
        (cached, ("cached_input", "input")),
        (written - long, ("cache_write", "input")),
        (long, ("cache_write_hour", "cache_write", "input")),
        (heard, ("input_audio", "input")),
        (thought, ("thinking", "output")),
        (spoken, ("output_audio", "output")),
    )
