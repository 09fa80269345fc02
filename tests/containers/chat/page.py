"""A chat page in NextChat's place: told its vendor as NextChat is, and believing what NextChat believes of a stream."""

from collections.abc import Iterator
import os
from typing import Any

import gradio
import nextchat


def content(turn: dict[str, Any]) -> str:
    parts = turn["content"]
    return parts if isinstance(parts, str) else "".join(part.get("text", "") for part in parts)


def answer(text: str, history: list[dict[str, Any]]) -> Iterator[str]:
    turns = [{"role": turn["role"], "content": content(turn)} for turn in history]
    body = {"model": "gpt-4o-mini", "messages": [*turns, {"role": "user", "content": text}]}
    try:
        yield from nextchat.ask(os.environ["BASE_URL"], os.environ["OPENAI_API_KEY"], body)
    except nextchat.NotAnswered as error:
        raise gradio.Error(str(error)) from None


# Without files, since Gradio's box for them has no stop button.
page = gradio.ChatInterface(
    answer,
    title="Not NextChat",
    description="This page stands in for NextChat in a test. It judges a stream as NextChat's parser does: events "
    "without `choices` are skipped, and a clean end is the end.",
)
if __name__ == "__main__":
    page.launch(server_name="0.0.0.0", server_port=3000, show_error=True)
