"""Where the time of a processor goes: `py-spy` looks at it while it is loaded."""

from collections import Counter
import html
from pathlib import Path
import re
import subprocess
import sys
import threading
from typing import Any, Final

from . import traffic
from .scenarios import SCENARIOS
from .servers import Park, Unavailable

WANTED: Final = (("qwen-whole", "us"), ("qwen-whole", "noop-whole"), ("qwen-paced-100", "us"), ("openai-whole", "us"))
_MOST: Final = 200_000
"""Bytes of a picture."""


def record(park: Park, seconds: float, directory: Path, out: Path) -> list[dict[str, Any]]:
    """A flame graph of each, and its functions by their own time."""
    return [_record(park, name, arm, seconds, directory, out) for name, arm in WANTED]


def _record(park: Park, name: str, arm: str, seconds: float, directory: Path, out: Path) -> dict[str, Any]:
    [scenario] = [each for each in SCENARIOS if each.name == name]
    said: dict[str, Any] = {"scenario": name, "arm": arm}
    try:
        server = park.server(arm)
        roles = server.roles()
        [pid] = roles.get("worker") or roles["processor"]
        ask = scenario.ask(arm, park.vendor.address)
        given = {"connections": scenario.connections, "duration": f"{2 * seconds + 3}s"}
        loading = threading.Thread(target=traffic.load, args=(directory, server.address, ask), kwargs=given)
        loading.start()
        try:
            raw, picture = directory / "profile.raw", out / f"flame-{name}-{arm}.svg"
            _spy(pid, seconds, "raw", raw)
            _spy(pid, seconds, "flamegraph", picture)
        finally:
            loading.join()
        titled(picture, f"{name}: {arm}")
        if picture.stat().st_size > _MOST:
            picture.unlink()
        else:
            said["picture"] = picture.name
        return said | {"functions": own_time(raw.read_text())}
    except (Unavailable, OSError, AssertionError, LookupError, subprocess.SubprocessError) as error:
        return said | {"problem": f"{type(error).__name__}: {error}"[:500]}


def titled(picture: Path, title: str) -> None:
    """A flame graph under a name of its own; py-spy writes its command line, with this machine's paths."""
    text = picture.read_text(encoding="utf-8")
    text = re.sub(r'(<text id="title"[^>]*>)[^<]*', lambda found: f"{found[1]}{html.escape(title)}", text)
    picture.write_text(text, encoding="utf-8")


def _spy(pid: int, seconds: float, kind: str, file: Path) -> None:
    program = [str(Path(sys.executable).parent / "py-spy"), "record", "--pid", str(pid), "--duration", f"{seconds:.0f}"]
    more = ["--format", kind, "--output", str(file), "--rate", "200", "--function"]
    subprocess.run([*program, *more], check=True, capture_output=True)


def own_time(raw: str, most: int = 12) -> list[tuple[str, float]]:
    """Functions and their share of all samples, the largest first. `raw`: lines of `outer;…;inner COUNT`."""
    own: Counter[str] = Counter()
    for line in raw.splitlines():
        stack, _, count = line.rpartition(" ")
        own[stack.rpartition(";")[2]] += int(count)
    return [(name, round(count / max(1, own.total()), 4)) for name, count in own.most_common(most)]
