"""Which front a request is for, and who converts between it and a provider. Rule: the one list of fronts."""

from collections.abc import Mapping
from typing import Final, Literal

from extproc.fronts.chat import Chat
from extproc.fronts.converted import Converted
from extproc.fronts.front import Front, Notes
from extproc.fronts.messages import Messages
from extproc.fronts.models_list import Models
from extproc.fronts.responses import Responses
from extproc.fronts.thinking import thinking
from extproc.providers import Provider
from extproc.providers.translator import Translator
from extproc.terms.call import CHAT, MODELS, ROOTS, Call, Target
from extproc.terms.errors import UnsupportedApi

FRONTS: Final[Mapping[str, Front]] = {front.name: front for front in (Chat(), Messages(), Responses())}

CHAT_FRONT: Final = FRONTS["chat"]


def front_of(target: Target, *, anthropic: bool) -> Front:
    """The front whose form an answer has, whatever becomes of the request. `anthropic`: the client says which version
    of Anthropic's API it speaks, which counts for paths that are every front's, and for those that are none's."""
    if anthropic and (target.root == MODELS or target.root not in ROOTS):
        return FRONTS["messages"]
    return FRONTS.get(target.front, CHAT_FRONT)


def front_at(path: str, *, anthropic: bool) -> Front:
    """The front that a path seems to be for, at the cost of a search: whoever has no key has its error in this form."""
    if anthropic and f"/v1/{MODELS}" in path:
        return FRONTS["messages"]
    return next((front for begin, front in _OTHERS if begin in path), CHAT_FRONT)


_OTHERS: Final = tuple((f"/v1/{front.name}", front) for front in FRONTS.values() if front is not CHAT_FRONT)


Way = Literal["counted", "converted", "repaired", "plain"]
"""How a request goes on: answered here for want of a vendor that counts tokens, as a chat request, with what is to be
put right for a vendor that speaks its dialect, or as its provider has it."""


def way(front: Front, provider: Provider, target: Target) -> Way:
    """Raises `UnsupportedApi` for what only a vendor that speaks the front's dialect itself has."""
    if front is CHAT_FRONT or provider.protocol != "openai":
        return "plain"
    if target.api == front.counts and front.name not in provider.counting:
        return "counted"
    if front.name not in provider.speaks:
        if target.api == front.creates:
            return "converted"
        if target.front == front.name:
            raise UnsupportedApi(f"{provider.type} has no such API: of {front.name} only {front.creates} is converted")
    return "repaired" if front.repairs and target.root == front.creates else "plain"


def lists(front: Front, provider: Provider, target: Target) -> bool:
    """Whether a vendor's list of models takes another form for the client."""
    return (
        front is not CHAT_FRONT
        and target.root == MODELS
        and provider.protocol == "openai"
        and front.name not in provider.counting
    )


def translator(front: Front, provider: Provider, call: Call, notes: Notes) -> Translator | None:
    """Who translates the answer to `call`; None: its bytes stay in Envoy."""
    if front is not CHAT_FRONT and call.target.root == MODELS and call.method == "GET":
        return Models(front, call, provider.translator(call)) if lists(front, provider, call.target) else None
    passes = front.name in provider.speaks and provider.answers_chat(call)
    if call.api != CHAT or provider.protocol == "original" or passes:
        return provider.translator(call)
    reader = provider.reader(call)
    model = call.model if provider.restores_model(call) else call.upstream_model
    writer = front.writer(call, model or "", notes, reader)
    return Converted(reader, writer, stream=call.stream, thinking=thinking(provider.thinking))
