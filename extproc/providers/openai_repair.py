"""A chat request as the family of an OpenAI model takes it. Rule: facts are rows of `families_openai.py`; in place, and
a request that has none of it keeps its bytes.
"""

from extproc.providers.families import Family
from extproc.text import jsontext
from extproc.text.jsontext import NULL, Fields

_EFFORT = "reasoning_effort"
_SAMPLING = (
    "temperature",
    "top_p",
    "logprobs",
    "top_logprobs",
    "presence_penalty",
    "frequency_penalty",
    "logit_bias",
    "stop",
)
MEMBERS = frozenset({*_SAMPLING, _EFFORT, "max_tokens"})
"""What `repair` looks at."""
_LEVELS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")


def repair(fields: Fields, family: Family) -> tuple[str, ...]:
    """Change a chat request; the names of what the client said and the vendor is not told."""
    if family.counts_thinking and "max_tokens" in fields:
        most = fields.pop("max_tokens")
        if fields.get("max_completion_tokens", NULL) == NULL:
            fields["max_completion_tokens"] = most
    dropped = _effort(fields, family)
    thinks = jsontext.peek(fields.get(_EFFORT, NULL)) != "none"
    if family.sampling == "refused" or (family.sampling == "without thinking" and thinks):
        dropped += [
            name for name in _SAMPLING if name in fields and fields.pop(name) not in (NULL, jsontext.raw(False))
        ]
    return tuple(dropped)


def _effort(fields: Fields, family: Family) -> list[str]:
    """The nearest effort that the family has, from below the lowest, which is named since it costs."""
    wanted = jsontext.peek(fields.get(_EFFORT, NULL))
    if not family.efforts or wanted in family.efforts or wanted not in _LEVELS:
        return []
    place = _LEVELS.index(wanted)
    nearest = min(family.efforts, key=lambda one: (abs(_LEVELS.index(one) - place), one == "none"))
    fields[_EFFORT] = jsontext.raw(nearest)
    return [_EFFORT] if wanted in ("none", "minimal") else []


def needs_responses(fields: Fields, family: Family) -> bool:
    """Whether a chat with these members is one that the family takes by the Responses API alone: with tools."""
    if family.tools_on_chat is None or bytes(fields.get("tools", b"[]")) in (b"[]", b"null"):
        return False
    effort = jsontext.peek(fields.get(_EFFORT, NULL))
    match family.tools_on_chat:
        case "effort none":
            return bool(effort != "none")
        case "effort unsaid":
            return effort is not None
    return True
