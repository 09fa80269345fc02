"""A second, naive reading of server-sent events, written from the WHATWG text and from nothing in the package.

It reads a whole stream at once, so it has no opinion about chunks.
"""

import re


def parse(stream: bytes, *, id_starts_event: bool = False) -> list[tuple[bytes, bytes, tuple[bytes, ...]]]:
    """`(data, event name, comments)` of every block that has data or comments.

    Two departures from a browser, which the product promises: a last block without its blank line counts, and
    with `id_starts_event` an `id` line behind data begins a new event.
    """
    blocks: list[tuple[bytes, bytes, tuple[bytes, ...]]] = []
    data: list[bytes] = []
    name = b""
    comments: list[bytes] = []

    def dispatch() -> None:
        nonlocal data, name, comments
        if data or comments:
            blocks.append((b"\n".join(data), name, tuple(comments)))
        data, name, comments = [], b"", []

    stream = stream.removeprefix(b"\xef\xbb\xbf")
    for line in re.sub(rb"\r\n?", b"\n", stream).split(b"\n"):
        if line == b"":
            dispatch()
        elif line.startswith(b":"):
            comments.append(line[1:].removeprefix(b" "))
        else:
            field, _, value = line.partition(b":")
            value = value.removeprefix(b" ")
            if field == b"data":
                data.append(value)
            elif field == b"event":
                name = value
            elif field == b"id" and id_starts_event and data:
                dispatch()
    dispatch()
    return blocks
