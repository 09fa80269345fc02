"""Generate extproc/_pb from protos/; with --check only say whether what is there is fresh (exit 1 if not)."""

import filecmp
from importlib.resources import files
from pathlib import Path
import sys
import tempfile

from grpc_tools import protoc

ROOT = Path(__file__).parent.parent
TARGET = ROOT / "extproc" / "_pb"
FILES = ("extproc_pb2.py", "extproc_pb2.pyi")


def generate(directory: Path) -> None:
    source = ROOT / "protos"
    known = files("grpc_tools") / "_proto"  # google/protobuf/struct.proto
    out = (f"--python_out={directory}", f"--pyi_out={directory}")
    code = protoc.main(["protoc", f"-I{source}", f"-I{known}", *out, str(source / "extproc.proto")])
    if code:
        sys.exit(code)


def main() -> None:
    if "--check" not in sys.argv[1:]:
        generate(TARGET)
        return
    with tempfile.TemporaryDirectory() as directory:
        generate(Path(directory))
        stale = [name for name in FILES if not filecmp.cmp(TARGET / name, Path(directory, name), shallow=False)]
    if stale:
        sys.exit(f"stale: {', '.join(stale)} in {TARGET.relative_to(ROOT)}; run: make stubs")


if __name__ == "__main__":
    main()
