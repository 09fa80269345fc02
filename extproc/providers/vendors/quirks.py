"""What can be said of a vendor that speaks OpenAI's API with differences.

Rule: data and the checks of it, nothing that runs in an exchange. Each attribute is applied in one place, named here.
A row of the table (`vendors/`) says them, and `quirks` of a configuration says them anew for one provider.
"""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationInfo, model_validator

from extproc.providers.blocks import Block, OriginUrl
from extproc.text.patterns import NamePatterns

Levels = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
"""OpenAI's levels of `reasoning_effort`, and `max`, which some vendors have above them."""


class _Said(Block):
    """A row says the names of this file, a configuration file their camelCase alone."""

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True)

    @model_validator(mode="before")
    @classmethod
    def _camel_case(cls, value: object, info: ValidationInfo) -> object:
        if info.context is not None and isinstance(value, dict):
            for key in value:
                if "_" in str(key) and key in cls.model_fields:
                    raise ValueError(f"unknown key {key}: it is written {cls.model_fields[key].alias}")
        return value


class Clamp(_Said):
    """What a number may be: from `min` to `max`; `value`: this alone. Only what the client says is changed."""

    min: float | None = None
    max: float | None = None
    value: float | str | bool | None = None

    @model_validator(mode="after")
    def _says_one(self) -> Self:
        if (self.value is None) == (self.min is None and self.max is None):
            raise ValueError("says either value, or min and max")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min:g} is greater than max {self.max:g}")
        return self


class ErrorForm(_Said):
    """An error within an answer of status 200. `at`: the member that says so, a dotted path; it is an error unless it
    is absent, null, false, empty or one of `ok`. `message`, `code`: where words and code are. `status`: where an HTTP
    status is. `statuses`: the status that a code stands for; else it is told from the words, or 502."""

    at: str = Field(min_length=1)
    ok: tuple[int | str, ...] = ()
    message: str = ""
    code: str = ""
    status: str = ""
    statuses: Mapping[str, int] = {}


class Thinking(_Said):
    """`ask`: the members by which a vendor is asked for thinking, all that it takes. `efforts`: its names for OpenAI's
    levels; those that are not there go as they are. `adds`: members by which it is told to keep thinking apart, where
    the client does not say them. `field`: what thinking is called in answers; `think`: it stands in the content as
    `<think>…</think>`. `forced`: whether tools can be forced while it thinks. `unasked`: whether it thinks unless it is
    told not to."""

    ask: tuple[Literal["thinking", "enable_thinking", "reasoning", "reasoning_effort"], ...] = ("reasoning_effort",)
    efforts: Mapping[Levels, str] = {}
    field: Literal["reasoning_content", "reasoning", "think"] = "reasoning_content"
    forced: bool = True
    unasked: bool = False
    adds: Mapping[str, str] = {}


class UsageForm(_Said):
    """Where a stream tells its usage. `at`: a dotted path (`x_groq.usage`, `choices.usage`) to look at where OpenAI's
    place is empty. `after_done`: in an event behind `[DONE]`. `reasoning_outside`: `completion_tokens` is without what
    was thought."""

    at: str = ""
    after_done: bool = False
    reasoning_outside: bool = False


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _paths(value: Any) -> Any:
    """A list of APIs, or a mapping to their paths where these differ."""
    if isinstance(value, list | tuple):
        return dict.fromkeys(TypeAdapter(list[str]).validate_python(list(value)), "")
    return value


APIS = (
    "audio batches chat completions conversations embeddings files fine_tuning images messages models "
    "moderations rerank reranks responses score tokenize detokenize uploads videos vector_stores"
).split()
"""What `apis` may name: the first step of a path behind `/v1/`."""


def _known_apis(value: Mapping[str, str]) -> Mapping[str, str]:
    for name, path in value.items():
        if name not in APIS:
            raise ValueError(f"there is no API {name!r}; allowed: {', '.join(sorted(APIS))}")
        if path and (not path.startswith("/") or path.endswith("/")):
            raise ValueError(f"{name}: a path begins with / and does not end with it")
    return value


def _prefix(value: str) -> str:
    if value and (not value.startswith("/") or value.endswith("/")):
        raise ValueError("must be empty, or begin with / and not end with it")
    return value


Members = tuple[Annotated[str, Field(min_length=1)], ...]


class Quirks(_Said):
    """How a vendor differs from OpenAI. What is not said is as OpenAI has it."""

    url: Annotated[tuple[OriginUrl, ...], BeforeValidator(_listed, json_schema_input_type=str | list[str])] = ()
    """Applied in `vendor.py`, as the next five."""
    prefix: Annotated[str, AfterValidator(_prefix)] = "/v1"
    auth: Literal["bearer", "x-api-key", "api-key", "plain", "x-goog-api-key", "none"] = "bearer"
    messages_auth: Literal["bearer", "x-api-key"] = "x-api-key"
    key: Literal["required", "optional"] = "required"
    apis: (
        Annotated[
            Mapping[str, str],
            BeforeValidator(_paths, json_schema_input_type=list[str] | dict[str, str]),
            AfterValidator(_known_apis),
        ]
        | None
    ) = None

    takes: tuple[Literal["file", "strict", "top_k", "verbosity"], ...] = ()
    """What few have beside what all have. Applied in `vendor.py`: `traits_of`."""

    refuses: Members = ()
    """Applied in `members.py`, as all of a request's."""
    renames: Mapping[str, str] = {}
    clamps: Mapping[str, Clamp] = {}
    beside: Mapping[str, Members] = {}
    stream_tools: str | None = None
    tools_switch: str | None = None
    json_schema: Literal["taken", "object"] = "taken"
    tool_choice: tuple[Literal["none", "required", "function"], ...] = ()
    roles: tuple[Literal["developer", "later-system", "system"], ...] = ("developer",)
    message_members: Members = ()
    cache_control: Literal["kept", "dropped"] | None = None
    returns_thinking: Literal["required", "kept", "dropped"] | None = None
    tool_ids: int | None = Field(default=None, ge=4, le=64)

    thinking: Thinking = Thinking()
    """Applied in `thinking.py`, what is asked and what is answered."""

    finish: Mapping[str, str] = {}
    """Applied in `chunks.py`, as all of an answer's. What stands for "" is the reason of an answer that has none, in a
    stream at its `[DONE]`."""
    usage: UsageForm = UsageForm()
    errors: tuple[ErrorForm, ...] = ()
    content: Literal["text", "parts"] = "text"

    by_model: Mapping[str, "Quirks"] = {}

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for problem in contradictions(self):
            raise ValueError(problem)
        return self

    def over(self, other: "Quirks") -> "Quirks":
        """`other`, but what is said here as it is said here. Raises `ValueError` where the two contradict."""
        said = {name: getattr(self, name) for name in self.model_fields_set}
        merged = other.model_copy(update=said)
        for problem in contradictions(merged):
            raise ValueError(problem)
        return merged


_NOT_BY_MODEL = frozenset({"url", "prefix", "auth", "messages_auth", "key", "apis", "by_model"})


def contradictions(quirks: Quirks) -> Iterator[str]:
    """What cannot be at the same time, in words."""
    refused = set(quirks.refuses)
    for what, named in (("renames", set(quirks.renames)), ("clamps", set(quirks.clamps))):
        for name in sorted(refused & named):
            yield f"refuses and {what} both name {name}"
    for source, target in quirks.renames.items():
        if target in refused:
            yield f"renames {source} to {target}, which refuses names"
        if target in quirks.renames:
            yield f"renames {source} to {target}, which is renamed itself"
    for member in ("model", "messages", "stream"):
        if member in refused:
            yield f"refuses {member}, without which there is no request"
    if quirks.thinking.field == "think" and quirks.returns_thinking == "required":
        yield "returnsThinking is required, but the thinking stands in the content"
    if quirks.auth == "none" and quirks.key == "required" and "key" in quirks.model_fields_set:
        yield "key is required, but auth is none"
    for pattern, own in quirks.by_model.items():
        if names := sorted(_NOT_BY_MODEL & own.model_fields_set):
            alias = Quirks.model_fields[names[0]].alias
            yield f"byModel {pattern}: {alias} is the same for all models of a vendor"
        NamePatterns([pattern])
