"""What limits say that cannot be meant: against each other, of names that are not there, of what nothing is kept for.

Rule: pure; each fault has its place in the file. A limit that would silently not apply is a fault, not a note.
"""

from collections.abc import Iterator

from extproc.config.config import Config
from extproc.config.quotas import SharedLimit, contradictions
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
