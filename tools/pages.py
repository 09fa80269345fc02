"""Pages of the documents of which a part is made from data.

Rule: what stands between `<!-- made: NAME -->` and `<!-- end -->` is made, everything else is written by people.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
import re
import sys

LANGUAGES = ("en", "zh")
ENDS = (".md", ".zh.md")
"""Of a page's file, by its language."""

DOCS = Path(__file__).parent.parent / "docs"
_MADE = re.compile(r"(<!-- made: (\w+) -->\n).*?(?=<!-- end -->)", re.S)

Table = Callable[[], Iterator[str]]


def render(page: str, tables: Mapping[str, Table]) -> str:
    """The page with its tables made anew."""
    return _MADE.sub(lambda found: found[1] + "".join(f"{line}\n" for line in tables[found[2]]()), page)


def code(names: object) -> str:
    return ", ".join(f"`{name}`" for name in names)  # type: ignore[attr-defined]


def main(pages: Mapping[Path, Mapping[str, Table]]) -> int:
    """Write the pages, or with `--check` only say which are stale; what the process ends with."""
    stale = []
    for path, tables in pages.items():
        page = path.read_text(encoding="utf-8")
        made = render(page, tables)
        if made != page:
            stale.append(path.name)
            if "--check" not in sys.argv:
                path.write_text(made, encoding="utf-8")
    if stale and "--check" in sys.argv:
        print(f"stale: {', '.join(stale)}; run make vendors", file=sys.stderr)
        return 1
    return 0
