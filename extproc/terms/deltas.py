"""What a vendor's answer adds, in the one vocabulary between vendors' readers and clients' fronts.

Rule: plain data that knows no vendor and no front. A delta is used up by whoever writes it: it may be changed on its
way, and nobody keeps it.
"""

from typing import Any

from msgspec import Struct


class Tool(Struct):
    """A tool call, or a piece of one."""

    id: str = ""
    name: str = ""
    arguments: str = ""

    def add(self, more: "Tool") -> None:
        """What a later piece says: id and name once, arguments on and on."""
        self.id, self.name = self.id or more.id, self.name or more.name
        self.arguments += more.arguments


class Delta(Struct):
    """What one event of a vendor's says about one choice; of a whole answer, all of it.

    `tools`: calls by their index. `finish`: OpenAI's word (`stop`, `length`, `tool_calls`, `content_filter`,
    `function_call`), an unknown one as it is, None before the end. `stop`: the stop sequence that matched, where the
    vendor says which. `refusal`: the words of one. `annotations`: OpenAI's, of the content.
    """

    index: int = 0
    content: str = ""
    reasoning: str = ""
    tools: dict[int, Tool] = {}
    finish: str | None = None
    logprobs: Any = None
    refusal: str = ""
    stop: str | None = None
    annotations: tuple[Any, ...] = ()
