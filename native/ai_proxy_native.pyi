"""What `src/lib.rs` holds; `extproc/worker/codec.py` says when it is used."""

from collections.abc import Mapping, Sequence

__version__: str

def read(message: bytes) -> tuple[str | None, dict[str, str] | None, bytes | None, bool, dict[str, str]]: ...
def forward(
    phase: str,
    set_headers: dict[str, str],
    remove_headers: Sequence[str],
    body: bytes | None,
    ends: bool | None,
    modes: tuple[int, int] | None,
    reroute: bool,
    replaces: bool,
    metadata: Mapping[str, Mapping[str, str | bool | float]],
) -> bytes: ...
def piece(body: bytes, ends: bool | None) -> bytes: ...
