"""Answers as vendors may tell them, piece by piece, for the properties of the fronts."""

import copy

from hypothesis import strategies as st

from extproc.terms.deltas import Delta, Tool

ARGUMENTS = [
    *(
        "",
        " ",
        "{}",
        '{"a": [1, "}"]}',
        '{"input": "x\\n\\ud83d\\ude42\\"y"}',
        '{"commands": ["ls"]}',
        '{"command": ["ls"]}',
    ),
    *('{"type": "delete_file", "path": "p"}', "no JSON", '{"input": "cut', '"text"'),
]


def copies(deltas: list[Delta]) -> list[Delta]:
    """A writer uses deltas up."""
    return copy.deepcopy(deltas)


@st.composite
def answers(draw: st.DrawFn, *names: str) -> list[Delta]:
    """The pieces of an answer in any order that a vendor may send them in: those of one thing in theirs. `names`: of
    tools that it may call."""
    texts = st.tuples(st.sampled_from(["content", "reasoning", "refusal"]), st.lists(st.text(max_size=4), max_size=4))
    queues = [[Delta(**{kind: text}) for text in said] for kind, said in draw(st.lists(texts, max_size=4))]
    for index in range(draw(st.integers(0, 4))):
        name = draw(st.sampled_from(["f", *names]))
        arguments = draw(st.sampled_from(ARGUMENTS))
        cuts = sorted(draw(st.lists(st.integers(0, len(arguments)), max_size=5)))
        pieces = [arguments[a:b] for a, b in zip([0, *cuts], [*cuts, len(arguments)], strict=True)]
        first, *rest = pieces
        id = draw(st.sampled_from(["", f"id{index}"]))
        queues.append(
            [Delta(tools={index: Tool(id, name, first)}), *(Delta(tools={index: Tool(arguments=p)}) for p in rest)]
        )
    deltas = []
    while queues := [queue for queue in queues if queue]:
        deltas.append(draw(st.sampled_from(queues)).pop(0))
    deltas.append(Delta(finish=draw(st.sampled_from(["stop", "length", "tool_calls", "content_filter", "odd"]))))
    return deltas
