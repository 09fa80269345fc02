"""Which form of the codec this process has: said by `--version` and `/version`, and without gRPC or protobuf."""

from importlib.metadata import PackageNotFoundError, version
import os
from typing import Final


def built() -> str | None:
    """The version of the native codec, None where it was not built, or `EXTPROC_NATIVE=0` keeps to Python."""
    if os.environ.get("EXTPROC_NATIVE") == "0":
        return None
    try:
        return version("ai-proxy-native")
    except PackageNotFoundError:
        return None


NAME: Final = f"native {found}" if (found := built()) else "python"
"""`native 0.1.0` or `python`."""
