"""What stands where in a document that is not understood yet.

Rule: plain data in, values and places out; nothing is judged here.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from extproc.config.higress import Location
from extproc.config.wording import TOKEN_KEYS


def token_entries(provider: Mapping[str, Any]) -> list[Any]:
    """What stands under `apiTokens` and `apiToken`."""
    entries: list[Any] = []
    for key in TOKEN_KEYS:
        value = provider.get(key)
        entries += value if isinstance(value, list) else [] if value is None else [value]
    return entries


def as_written(native: Mapping[str, Any], location: Location) -> Location:
    """The place of a step of a route in the file, where a group of one may be written without its list."""
    written = native["routes"][location[1]]["provider"]
    if isinstance(written, list) and isinstance(location[3], int) and isinstance(written[location[3]], list):
        return location
    return (*location[:3], *(location[3:4] if isinstance(written, list) else ()), *location[5:])


def targets(target: object, where: Location) -> Iterator[tuple[str, Location]]:
    """The provider ids that a route names, with their places: `provider: id`, steps, groups of steps."""
    if isinstance(target, str):
        yield target, where
    elif isinstance(target, list):
        for index, entry in enumerate(target):
            yield from targets(entry, (*where, index))
    elif isinstance(target, dict) and isinstance(target.get("provider"), str):
        yield target["provider"], (*where, "provider")
