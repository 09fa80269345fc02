"""What the simulated model says: a question in, a deterministic script out, the same for every vendor.

Rule: no wire form here. Vendors read their requests into `Asked` and write `Script` (whole) or `deltas`
(streamed) in their own form. One piece counts as one token.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
import json
from typing import Any

from extproc.simulate.conversation import Scripted

PIECE = 3
ARGUMENT_PIECE = 6


@dataclass(frozen=True, slots=True)
class Asked:
    """One question, without the vendor's spelling."""

    name: str
    text: str
    prompt_tokens: int
    images: int = 0
    files: tuple[str, ...] = ()
    tool_result: str | None = None
    tools: tuple[dict[str, Any], ...] = ()
    tool_choice: Any = None
    n: int = 1
    stop: tuple[str, ...] = ()
    max_tokens: int | None = None
    thinking: bool = False
    thinking_budget: int | None = None
    search: bool = False
    schema: dict[str, Any] | None = None
    chunks: int | None = None
    big: int | None = None
    scripted: Scripted | None = None
    said: str | None = None
    """What is said whatever else there is: a character's words."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call of a tool, its arguments in pieces."""

    id: str
    name: str
    pieces: tuple[str, ...]

    @property
    def arguments(self) -> str:
        """The arguments, JSON text: str."""
        return "".join(self.pieces)


@dataclass(frozen=True, slots=True)
class Line:
    """One choice of the answer."""

    thinking: tuple[str, ...]
    pieces: tuple[str, ...]
    calls: tuple[ToolCall, ...]
    finish: str

    @property
    def text(self) -> str:
        """The whole text: str."""
        return "".join(self.pieces)

    @property
    def reasoning(self) -> str:
        """The whole thinking: str."""
        return "".join(self.thinking)

    @property
    def tokens(self) -> int:
        """How many tokens this choice took: int."""
        return len(self.thinking) + len(self.pieces) + sum(len(call.pieces) for call in self.calls)


@dataclass(frozen=True, slots=True)
class Script:
    """The whole answer."""

    lines: tuple[Line, ...]
    prompt_tokens: int
    images: int

    @property
    def tokens(self) -> int:
        """Output tokens of all choices: int."""
        return sum(line.tokens for line in self.lines)

    @property
    def reasoning_tokens(self) -> int:
        """Output tokens that were thinking: int."""
        return sum(len(line.thinking) for line in self.lines)


@dataclass(frozen=True, slots=True)
class Delta:
    """One step of a stream: what is new for one choice. `call` is (place, call, piece, first)."""

    choice: int
    thinking: str = ""
    text: str = ""
    call: tuple[int, ToolCall, str, bool] | None = None
    finish: str | None = None


def cut_pieces(text: str, size: int = PIECE) -> tuple[str, ...]:
    """`text` (str) in pieces of `size` characters: tuple of str."""
    return tuple(text[at : at + size] for at in range(0, len(text), size))


def sample(schema: Any, seed: str) -> Any:
    """A value that fits a JSON `schema`; strings take `seed` (str)."""
    schema = schema if isinstance(schema, dict) else {}
    if schema.get("enum"):
        return schema["enum"][0]
    match schema.get("type", "object" if "properties" in schema else "string"):
        case "object":
            return {name: sample(part, seed) for name, part in schema.get("properties", {}).items()}
        case "array":
            return [sample(schema.get("items"), seed)]
        case "integer" | "number":
            return 1
        case "boolean":
            return True
        case _:
            return seed


def _scripted(asked: Asked, wanted: Scripted) -> tuple[ToolCall, ...]:
    if wanted.name is None:
        return ()
    arguments = wanted.arguments
    if arguments is None:
        tool = next((tool for tool in asked.tools if tool.get("name") == wanted.name), {})
        arguments = json.dumps(sample(tool.get("parameters"), "杭州"), ensure_ascii=False)
    return (ToolCall(f"call_sim{wanted.step:04d}", wanted.name, cut_pieces(arguments, ARGUMENT_PIECE)),)


def _calls(asked: Asked) -> tuple[ToolCall, ...]:
    if asked.scripted is not None:
        return _scripted(asked, asked.scripted)
    if not asked.tools or asked.tool_choice == "none":
        return ()
    chosen = [tool for tool in asked.tools if str(tool.get("name")) in asked.text]
    if isinstance(asked.tool_choice, dict):
        wanted = asked.tool_choice.get("function", asked.tool_choice).get("name")
        chosen = [tool for tool in asked.tools if tool.get("name") == wanted]
    elif asked.tool_result is not None:
        return ()
    elif not chosen and ("tool" in asked.text.lower() or "工具" in asked.text or asked.tool_choice == "required"):
        chosen = [asked.tools[0]]
    return tuple(
        ToolCall(
            id=f"call_sim{place:04d}",
            name=str(tool.get("name")),
            pieces=cut_pieces(json.dumps(sample(tool.get("parameters"), "杭州"), ensure_ascii=False), ARGUMENT_PIECE),
        )
        for place, tool in enumerate(chosen)
    )


def _text(asked: Asked, choice: int) -> str:
    if asked.schema is not None:
        return json.dumps(sample(asked.schema, asked.text) or {"reply": asked.text}, ensure_ascii=False)
    if asked.said is not None and asked.scripted is None and asked.tool_result is None:
        return asked.said
    said = f"你好！我是{asked.name}（模拟） 🎉 "
    if asked.images:
        said += f"我看到了 {asked.images} 张图片。"
    if asked.files:
        said += f"已读文件：{'、'.join(asked.files)}。"
    if asked.search:
        said += "已联网搜索。"
    if asked.scripted is not None:  # programs say a lot around a prompt
        return f"{said}工具返回：{asked.scripted.result}。"
    if asked.tool_result is not None:
        said += f"工具返回：{asked.tool_result}。"
    said += f"你说：{asked.text}"
    return said if choice == 0 else f"{said}（第 {choice + 1} 个回答）"


def _line(asked: Asked, choice: int) -> Line:
    thinking: tuple[str, ...] = ()
    if asked.thinking:
        thinking = cut_pieces(f"让我想一想 🤔 用户说的是：{asked.text}")[: asked.thinking_budget]
    if calls := _calls(asked):
        return Line(thinking, (), calls, "tool_calls")
    text, finish = _text(asked, choice), "stop"
    for stop in asked.stop:
        if stop:
            text = text.partition(stop)[0]
    pieces = cut_pieces(text)
    if asked.chunks is not None:
        pieces = tuple((pieces or ("喵",))[at % max(1, len(pieces))] for at in range(asked.chunks))
    if asked.big is not None:
        pieces = (*pieces, "大" * asked.big)
    if asked.max_tokens is not None and len(pieces) > asked.max_tokens:
        pieces, finish = pieces[: asked.max_tokens], "length"
    return Line(thinking, pieces, (), finish)


def perform(asked: Asked) -> Script:
    """The answer to `asked` (Asked): Script. The same question gives the same answer."""
    lines = tuple(_line(asked, choice) for choice in range(asked.n))
    return Script(lines, asked.prompt_tokens, asked.images)


def _steps(choice: int, line: Line) -> Iterator[Delta]:
    for piece in line.thinking:
        yield Delta(choice, thinking=piece)
    for piece in line.pieces:
        yield Delta(choice, text=piece)
    for place, call in enumerate(line.calls):
        for at, piece in enumerate(("", *call.pieces)):
            yield Delta(choice, call=(place, call, piece, at == 0))
    yield Delta(choice, finish=line.finish)


def deltas(script: Script) -> Iterator[Delta]:
    """`script` (Script) as a stream, choices taking turns: iterator of Delta."""
    for row in zip_longest(*(_steps(choice, line) for choice, line in enumerate(script.lines))):
        yield from (delta for delta in row if delta is not None)
