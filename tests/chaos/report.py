"""docs/reliability.md and its Chinese twin, from docs/reliability.json, which a full run writes."""

VERDICTS = ("answered", "error", "cut", "left", "lost", "incomplete", "duplicate", "malformed", "foreign")


def line(row):
    return " ".join(f"{k}={v}" for k, v in row.items() if k not in ("problems",) and v not in (0, []))
