"""Render envoy/envoy.yaml; with --check only say whether it is fresh (exit 1 if not)."""

from pathlib import Path
import sys

from extproc.envoy.bootstrap import sample

TARGET = Path(__file__).parent.parent / "envoy" / "envoy.yaml"


def main() -> None:
    if "--check" not in sys.argv[1:]:
        TARGET.write_text(sample())
    elif TARGET.read_text() != sample():
        sys.exit("envoy/envoy.yaml is stale; run: make bootstrap")


if __name__ == "__main__":
    main()
