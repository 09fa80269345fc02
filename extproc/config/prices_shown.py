"""Prices in words (`extproc prices`). Rule: what is shown is what exchanges are charged by."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from extproc.config.config import Config
from extproc.providers import Provider
from extproc.providers.prices import Price

_COLUMNS = ("provider", "model", "input", "cachedInput", "output", "other", "currency", "source")


def rows(config: Config, model: str | None) -> list[dict[str, Any]]:
    """A row for each price that is known: of `model`, or of all models that the configuration names, and of all that
    the table has for a provider of which it names none."""
    found = []
    for provider in config.providers:
        said = config.prices.get(provider.id, {})
        for name in [model] if model is not None else _names(config, provider):
            price = said.get(name) or config.price(provider.id, name)
            if price is not None:
                ours = any(price is own for own in said.values())
                found.append(_row(provider, name, price, "prices" if ours else config.table.source))
    return found


def _names(config: Config, provider: Provider) -> list[str]:
    said = list(config.prices.get(provider.id, {}))
    mapped = [provider.upstream_model(name) or name for name in provider.names or () if "*" not in name]
    return list(dict.fromkeys(said + (mapped or config.table.models(provider.type))))


def _row(provider: Provider, model: str, price: Price, source: str) -> dict[str, Any]:
    numbers = price.model_dump(by_alias=True, exclude_none=True, exclude={"currency", "tiers"})
    shown = {name: _text(value) for name, value in numbers.items()}
    tiers = [tier.model_dump(by_alias=True, exclude_none=True) for tier in price.tiers]
    said: dict[str, Any] = {"provider": provider.id, "model": model, **shown, "currency": price.currency}
    if tiers:
        said["tiers"] = [{n: v if n == "above" else _text(v) for n, v in tier.items()} for tier in tiers]
    return said | {"source": source}


def _text(amount: Decimal) -> str:
    return f"{amount.normalize():f}"


def table(found: list[dict[str, Any]]) -> str:
    """The rows for people. Amounts are for a million tokens."""
    lines = [_COLUMNS, *map(_cells, found)]
    widths = [max(len(line[at]) for line in lines) for at in range(len(_COLUMNS))]
    padded = [[cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in lines]
    return "\n".join(["  ".join(cells).rstrip() for cells in padded])


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    return tuple("; ".join(_others(row)) if name == "other" else str(row.get(name, "")) for name in _COLUMNS)


def _others(row: dict[str, Any]) -> Iterator[str]:
    for name, value in row.items():
        if name == "tiers":
            for tier in value:
                rates = ", ".join(f"{rate} {amount}" for rate, amount in tier.items() if rate != "above")
                yield f"above {tier['above']}: {rates}"
        elif name not in _COLUMNS:
            yield f"{name} {value}"
