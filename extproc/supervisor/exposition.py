"""Metrics as Prometheus reads them: its text format 0.0.4, and OpenMetrics 1.0.

Rule: text only; what is shown is `families`'. prometheus_client writes the same ten times slower (40,000 lines: 2 s
to 0.1 s, 0.26, 2026-11), so it is the referee of our tests instead.
"""

from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Final

from extproc.supervisor.families import Family, Labels, Number

TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS: Final = "application/openmetrics-text; version=1.0.0; charset=utf-8"

_UNITS: Final = {"s": "seconds"}
_ESCAPES: Final = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})


def wants_openmetrics(accept: str) -> bool:
    """Whether a scraper that accepts this would rather have OpenMetrics."""
    best = {"application/openmetrics-text": 0.0, "text/plain": 0.0, "*/*": 0.0}
    for entry in accept.split(","):
        kind, *parameters = (part.strip().lower() for part in entry.split(";"))
        said = dict(parameter.partition("=")[::2] for parameter in parameters)
        if kind in best and said.get("version", "1.0.0") in ("1.0.0", "0.0.4"):
            best[kind] = max(best[kind], _quality(said.get("q", "1")))
    return best["application/openmetrics-text"] > max(best["text/plain"], best["*/*"])


def _quality(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def written(families: Iterable[Family], *, openmetrics: bool) -> bytes:
    """All families as one text."""
    lines: list[str] = []
    for family in families:
        if family.values or family.spreads:
            lines += _family(family, openmetrics=openmetrics)
    if openmetrics:
        lines.append("# EOF\n")
    return "".join(lines).encode()


def _family(family: Family, *, openmetrics: bool) -> Iterator[str]:
    name = prometheus_name(family)
    total = "_total" if family.kind == "counter" else ""
    described = name if openmetrics else name + total
    yield f"# HELP {described} {family.help}\n# TYPE {described} {family.kind}\n"
    if openmetrics and family.unit in _UNITS:
        yield f"# UNIT {name} {_UNITS[family.unit]}\n"
    template = ",".join(f'{label.replace(".", "_")}="%s"' for label in family.labels)
    texts = family.texts
    for labels, value in family.values.items():
        text = texts.get(labels)
        if text is None:
            text = texts[labels] = template % _escaped(labels)
        yield f"{name}{total}{{{text}}} {value if type(value) is int else _number(value)}\n"
    bounds = [*(f'le="{bound!r}"' for bound in family.bounds), 'le="+Inf"']
    for labels, spread in family.spreads.items():
        text, seen = template % _escaped(labels), 0
        comma = "," if text else ""
        for bound, count in zip(bounds, spread.counts, strict=True):
            seen += count
            yield f"{name}_bucket{{{text}{comma}{bound}}} {seen}\n"
        yield f"{name}_sum{{{text}}} {spread.sum!r}\n{name}_count{{{text}}} {seen}\n"


def prometheus_name(family: Family) -> str:
    """Without `_total`."""
    unit = _UNITS.get(family.unit)
    return family.name.replace(".", "_") + (f"_{unit}" if unit else "")


def _escaped(labels: Labels) -> Labels:
    together = "".join(labels)
    if not ('"' in together or "\\" in together or "\n" in together):
        return labels
    return tuple(value.translate(_ESCAPES) for value in labels)


def _number(value: Number) -> str:
    return format(value, "f") if isinstance(value, Decimal) else repr(value)
