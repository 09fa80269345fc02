"""A client of chat completions that judges a stream as NextChat's parser does.

Rule: an event without `choices` adds nothing, whatever it says, nor does one that is not JSON; `[DONE]` or a clean end
is the end; only a connection that breaks, or no text at all, is an error (ChatGPTNextWeb/NextChat, `streamWithThink` in
app/utils/chat.ts and `parseSSE` in app/client/platforms/openai.ts, read 2026-11-30). So an answer that only looks whole
is shown as one.
"""

from collections.abc import Iterable, Iterator
import http.client
import json
from typing import Any
import urllib.error
import urllib.request


class NotAnswered(Exception):
    """What a person is shown in place of an answer, or behind a part of one."""


def ask(base_url: str, key: str, body: dict[str, Any]) -> Iterator[str]:
    """The answer's text so far, each time that there is more of it. Raises `NotAnswered`."""
    headers = {"content-type": "application/json", "authorization": f"Bearer {key}"}
    data = json.dumps({**body, "stream": True}).encode()
    request = urllib.request.Request(f"{base_url}/v1/chat/completions", data, headers)
    try:
        with urllib.request.urlopen(request) as answer:
            if not answer.headers.get("content-type", "").startswith("text/event-stream"):
                raise NotAnswered(answer.read().decode(errors="replace"))
            text = ""
            for text in texts(iter(lambda: answer.read1(65536), b"")):
                yield text
            if not text:
                raise NotAnswered("empty response from server")
    except urllib.error.HTTPError as error:
        raise NotAnswered(_words(error.read())) from None
    except (OSError, http.client.HTTPException) as error:
        raise NotAnswered(f"the connection broke: {error}") from None


def texts(chunks: Iterable[bytes]) -> Iterator[str]:
    """The text so far, after each event of a stream that adds to it."""
    text = ""
    for data in _events(chunks):
        if data == "[DONE]":
            return
        try:
            more = json.loads(data)["choices"][0]["delta"]["content"]
        except (ValueError, LookupError, TypeError):
            continue
        if isinstance(more, str) and more:
            text += more
            yield text


def _events(chunks: Iterable[bytes]) -> Iterator[str]:
    """The data of each event; one that no blank line ends is none."""
    rest, data = b"", list[str]()
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            line = line.removesuffix(b"\r")
            if line.startswith(b"data:"):
                data.append(line.removeprefix(b"data:").removeprefix(b" ").decode(errors="replace"))
            elif not line and data:
                yield "\n".join(data)
                data = []


def _words(body: bytes) -> str:
    try:
        return str(json.loads(body)["error"]["message"])
    except (ValueError, LookupError, TypeError):
        return body.decode(errors="replace")
