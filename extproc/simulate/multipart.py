"""Multipart uploads: read from the beginning and the end of a body that was counted, not kept.

Rule: large bodies are never held; `Call.body` has their first and last part, `Call.size` the whole length.
Source: RFC 7578.
"""

from dataclasses import dataclass, field
import re

from extproc.simulate.call import Call
from extproc.simulate.refusal import Refusal

HEAD = 256 * 1024
TAIL = 64 * 1024
_BOUNDARY = re.compile(r'boundary="?([^";]+)"?', re.IGNORECASE)
_NAME = re.compile(rb'[; ]name="([^"]*)"')
_FILENAME = re.compile(rb'filename="([^"]*)"')


@dataclass(frozen=True, slots=True)
class Upload:
    """A file part: `content` is what was kept of its `size` bytes."""

    name: str
    size: int
    content: bytes


@dataclass(slots=True)
class Form:
    """The parts of a multipart body."""

    fields: dict[str, str] = field(default_factory=dict)
    file: Upload | None = None


def read(call: Call) -> Form:
    """The form in a request (Call): Form, or a Refusal when it is not a complete multipart body."""
    kind = call.headers.get("content-type", "")
    boundary = _BOUNDARY.search(kind)
    if not kind.lower().startswith("multipart/form-data") or boundary is None:
        raise Refusal(400, "the request must be multipart/form-data with a boundary", code="invalid_content_type")
    mark = b"--" + boundary[1].encode()
    if not call.body.startswith(mark) or not call.body.rstrip(b"\r\n").endswith(mark + b"--"):
        raise Refusal(400, "the multipart body is not complete")
    left_out = call.size - len(call.body)
    form = Form()
    for part in call.body.removeprefix(mark).split(b"\r\n" + mark)[:-1]:
        head, _, value = part.partition(b"\r\n\r\n")
        name = _NAME.search(head)
        if name is None:
            continue
        if filename := _FILENAME.search(head):
            form.file = Upload(filename[1].decode(errors="replace"), len(value) + left_out, value)
        else:
            form.fields[name[1].decode()] = value.decode(errors="replace")
    return form
