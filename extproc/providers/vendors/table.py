"""The table of vendors: every row by its type. Rule: rows stand in the files below, and nowhere else."""

from collections.abc import Mapping
from types import MappingProxyType

from extproc.providers.vendors import china, own, world
from extproc.providers.vendors.row import Row


def _table(rows: tuple[Row, ...]) -> Mapping[str, Row]:
    found: dict[str, Row] = {}
    for row in rows:
        if found.setdefault(row.type, row) is not row:
            raise ValueError(f"two rows of type {row.type}")
    return MappingProxyType(found)


ROWS = _table((*china.ROWS, *world.ROWS, *own.ROWS))
