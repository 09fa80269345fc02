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
        parts = [
            *_tokens(self, rates, usage),
            (usage.images or 0, self.image, _ONE),
            (usage.seconds or 0, self.second, _ONE),
            (usage.characters or 0, self.characters, _MILLION),
        ]
        used = [(Decimal(str(count)), rate, unit) for count, rate, unit in parts if count]
        if not used or any(rate is None for _, rate, _ in used):
            return None
        return sum((count * rate * unit for count, rate, unit in used if rate is not None), self.request or _ZERO)


_ZERO: Final = Decimal(0)
_ONE: Final = Decimal(1)
_MILLION: Final = Decimal("0.000001")

_Part = tuple[float, Decimal | None, Decimal]


def _tokens(base: Rates, rates: Rates, usage: Usage) -> list[_Part]:
    """Counts with their rates, none counted twice."""

    def rate(*names: str) -> Decimal | None:
        for name in names:
            for said in (rates, base):
                if (found := getattr(said, name)) is not None:
                    return Decimal(found)
        return None

    prompt, output = usage.prompt_tokens or 0, usage.completion_tokens or 0
    cached = min(usage.cached_tokens or 0, prompt)
    written = min(usage.cache_write_tokens or 0, prompt - cached)
    long = min(usage.long_write_tokens or 0, written)
    heard = min(usage.prompt_audio_tokens or 0, prompt - cached - written)
    thought = min(usage.reasoning_tokens or 0, output)
    spoken = min(usage.completion_audio_tokens or 0, output - thought)
    counted = [
        (prompt - cached - written - heard, rate("input")),
        (cached, rate("cached_input", "input")),
        (written - long, rate("cache_write", "input")),
        (long, rate("cache_write_hour", "cache_write", "input")),
        (heard, rate("input_audio", "input")),
        (output - thought - spoken, rate("output")),
        (thought, rate("thinking", "output")),
        (spoken, rate("output_audio", "output")),
    ]
    return [(count, found, _MILLION) for count, found in counted]
