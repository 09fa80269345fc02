"""What limits say that cannot be meant: against each other, of names that are not there, of what nothing is kept for.

Rule: pure; each fault has its place in the file. A limit that would silently not apply is a fault, not a note.
"""

from collections.abc import Iterator

from extproc.config.config import Config
from extproc.config.quotas import Limit, LimitMatch, SharedLimit, contradictions
from extproc.config.words import did_you_mean

Place = tuple[str | int, ...]


def quota_faults(config: Config) -> Iterator[tuple[Place, str]]:
    """Where, and what is wrong there."""
    for index, client in enumerate(config.clients):
        for entry, message in contradictions(client.limits):
            yield ("clients", index, "limits", entry), message
    scopes: dict[str, list[int]] = {}
    for index, limit in enumerate(config.limits):
        scopes.setdefault(limit.scope, []).append(index)
        yield from _names(config, index, limit)
    for indexes in scopes.values():
        for entry, message in contradictions([config.limits[index] for index in indexes]):
            yield ("limits", indexes[entry]), message
    if config.usage.store == "redis" and config.redis is None:
        yield ("usage", "store"), "redis needs the key redis beside usage: where the server is"
    for place, budget, unpriced, priced in budgets(config):
        named = isinstance(budget, SharedLimit) and budget.match.models is not None and budget.match.models.exact
        if unpriced and (named or not priced):
            names = ", ".join(f"{model} at {provider}" for provider, model in unpriced[:5])
            yield (*place, budget.kind), f"would count nothing: there is no price in {budget.currency} for {names}"


Named = list[tuple[str, str]]


def budgets(config: Config) -> Iterator[tuple[Place, Limit, Named, Named]]:
    """Every budget in money, and the models (provider, vendor's name) within it that the configuration names: those
    without a price in its currency, and those with one."""
    for index, client in enumerate(config.clients):
        for entry, own in enumerate(client.limits):
            if own.currency is not None:
                place: Place = ("clients", index, "limits", entry)
                yield (place, own, *_priced(config, own, client.routes, client.models.exact))
    for index, limit in enumerate(config.limits):
        if limit.currency is not None:
            match = limit.match
            routes = [r.name for r in config.effective_routes if match.routes is None or r.name in match.routes]
            asked = match.models.exact if match.models is not None else ()
            yield (("limits", index), limit, *_priced(config, limit, tuple(routes), asked))


def _priced(config: Config, limit: Limit, routes: tuple[str, ...], asked: tuple[str, ...]) -> tuple[Named, Named]:
    """`asked`: the names that the limit is about, where it says some."""
    found: dict[tuple[str, str], bool] = {}
    match = limit.match if isinstance(limit, SharedLimit) else LimitMatch()
    for route in config.effective_routes:
        for step in route.steps if not routes or route.name in routes else ():
            if match.providers is not None and step.provider not in match.providers:
                continue
            provider = config.by_id[step.provider]
            names = {step.model} if step.model else {provider.upstream_model(name) or name for name in asked}
            if not step.model and not asked:
                names = {provider.upstream_model(name) or name for name in provider.models or ()}
                names |= set(provider.model_mapping.targets)
            for name in names - {None}:
                if match.models is None or not match.models.exact or asked or name in match.models:
                    price = config.price(provider.id, str(name))
                    found[provider.id, str(name)] = price is not None and price.currency == limit.currency
    return [one for one, known in found.items() if not known], [one for one, known in found.items() if known]


def _names(config: Config, index: int, limit: SharedLimit) -> Iterator[tuple[Place, str]]:
    """Names that are not there, and patterns that none matches."""
    known = {
        "clients": [client.name for client in config.clients],
        "groups": sorted({group for client in config.clients for group in client.groups}),
        "routes": [route.name for route in config.effective_routes],
        "providers": [provider.id for provider in config.providers],
    }
    if limit.each == "client" and not config.clients:
        yield ("limits", index, "each"), "there are no clients to tell apart: see the key clients"
    for key, names in known.items():
        found = getattr(limit.match, key)
        for place, pattern in enumerate(() if found is None else found.patterns):
            where = ("limits", index, "match", key, place)
            there = f"there are: {', '.join(names)}" if names else f"there are no {key}"
            if pattern in found.exact and pattern not in names:
                yield where, f"there is no {key[:-1]} {pattern!r}{did_you_mean(pattern, names)}; {there}"
            elif pattern not in found.exact and not any(name in type(found)([pattern]) for name in names):
                yield where, f"no {key[:-1]} matches {pattern!r}; {there}"
