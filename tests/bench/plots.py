"""Pictures of a run, as small SVG files."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from .targets import Rows, Spread, cpu_ms, p50, requests_s

_ROLES: Final = {
    "envoy": "#7f8fa6",
    "processor": "#d9a441",
    "worker": "#2a7f62",
    "supervisor": "#9bc1bc",
    "litellm": "#b5485d",
    "portkey": "#6b4f9e",
}
_US: Final = "#2a7f62"
_OTHERS: Final = "#a9b4c2"


def _sound(rows: Rows, name: str) -> dict[str, list[Mapping[str, Any]]]:
    arms = rows[name]["arms"]
    return {arm: found["repetitions"] for arm, found in arms.items() if "problem" not in found and found["repetitions"]}


def draw(rows: Rows, directory: Path) -> list[str]:
    """The files that were written."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "bench", "font.size": 9})
    pictures: dict[str, Callable[[], Any]] = {
        "requests.svg": lambda: _bars(rows, ("openai-whole", "qwen-whole"), "requests/s", requests_s, log=True),
        "latency.svg": lambda: _bars(rows, ("latency-openai", "latency-qwen"), "p50 ms, one connection", p50, log=True),
        "cpu.svg": lambda: _stacks(rows, ("openai-whole", "qwen-whole", "qwen-stream-500")),
        "soak.svg": lambda: _line(rows["soak"]["arms"]["us"]["resident_mib"]),
    }
    written = []
    for name, picture in pictures.items():
        try:
            figure = picture()
        except LookupError:  # not of this run
            continue
        figure.savefig(directory / name, bbox_inches="tight", metadata={"Date": None})
        written.append(name)
    return written


def _axes(count: int) -> tuple[Any, list[Any]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.2 * count, 2.8))
    axes = figure.subplots(1, count, squeeze=False)[0]
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
    figure.subplots_adjust(wspace=0.45)
    return figure, list(axes)


def _bars(rows: Rows, names: Sequence[str], what: str, metric: Any, *, log: bool) -> Any:
    """Medians with lowest and highest, one panel per scenario that was run."""
    names = [name for name in names if name in rows]
    figure, axes = _axes(len(names) or len(rows[what]))  # none: LookupError
    for axis, name in zip(axes, names, strict=True):
        spreads = {arm: Spread.of([metric(row) for row in found]) for arm, found in _sound(rows, name).items()}
        middle = [s.median for s in spreads.values()]
        errors = [[s.median - s.low for s in spreads.values()], [s.high - s.median for s in spreads.values()]]
        colours = [_US if arm.startswith("us") else _OTHERS for arm in spreads]
        axis.barh(list(spreads), middle, xerr=errors, color=colours, error_kw={"elinewidth": 1})
        axis.set(title=name, xlabel=what, xscale="log" if log else "linear")
        axis.invert_yaxis()
    return figure


def _stacks(rows: Rows, names: Sequence[str]) -> Any:
    """CPU per request, by process."""
    names = [name for name in names if name in rows]
    figure, axes = _axes(len(names) or len(rows["cpu"]))
    for axis, name in zip(axes, names, strict=True):
        arms = {arm: found for arm, found in _sound(rows, name).items() if arm != "direct"}
        left = [0.0] * len(arms)
        for role, colour in _ROLES.items():
            of = [
                Spread.of([cpu_ms(row, role) for row in found]).median if role in found[0]["cpu_seconds"] else 0.0
                for found in arms.values()
            ]
            if any(of):
                axis.barh(list(arms), of, left=left, color=colour, label=role)
                left = [a + b for a, b in zip(left, of, strict=True)]
        axis.set(title=name, xlabel="CPU ms per request")
        axis.invert_yaxis()
        axis.legend(fontsize=7, frameon=False)
    return figure


def _line(samples: Sequence[float]) -> Any:
    figure, [axis] = _axes(1)
    axis.plot(samples, color=_US, linewidth=1)
    axis.set(title="soak", xlabel="samples", ylabel="worker, resident MiB", ylim=(0, 1.2 * max(samples)))
    return figure
