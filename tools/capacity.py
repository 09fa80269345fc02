"""Do the sums of docs/capacity.md and its twin again, after an input was changed; a test says when they are stale.

Rule: `| name | value | …` is given, `| name | formula | value | …` is worked out from the rows before it.
"""

import math
from pathlib import Path
import re

PAGES = [Path(__file__).parent.parent / "docs" / name for name in ("capacity.md", "capacity.zh.md")]
_ROW = re.compile(r"^\| `(?P<name>\w+)` \| (?:`(?P<formula>[^`]+)` \| )?(?P<value>[\d,.]+) \|", re.M)


def worked_out(page: str) -> str:
    """The page with its results renewed."""
    known: dict[str, float] = {}

    def renewed(row: re.Match[str]) -> str:
        name, formula, value = row.group("name", "formula", "value")
        if formula:
            decimals = len(value.partition(".")[2])
            result = eval(formula, {"__builtins__": {}, "ceil": math.ceil, "max": max}, known)  # the page is ours
            value = f"{result:,.{decimals}f}"
        known[name] = float(value.replace(",", ""))
        return row[0].replace(f" {row['value']} |", f" {value} |")

    return _ROW.sub(renewed, page)


def main() -> None:
    for path in PAGES:
        path.write_text(worked_out(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
