"""Which front a request is for, and who converts between it and a provider. Rule: the one list of fronts."""

from collections.abc import Mapping
from typing import Final

from extproc.fronts.chat import Chat
from extproc.fronts.converted import Converted
from extproc.fronts.front import Front, Notes
from extproc.fronts.messages import Messages
from extproc.fronts.models_list import Models
from extproc.fronts.responses import Responses
from extproc.fronts.thinking import thinking
from extproc.providers import Provider
from extproc.providers.translator import Translator
from extproc.terms.call import CHAT, MODELS, Call, Target
from extproc.terms.errors import UnsupportedApi

FRONTS: Final[Mapping[str, Front]] = {front.name: front for front in (Chat(), Messages(), Responses())}

CHAT_FRONT: Final = FRONTS["chat"]


def front_of(target: Target, *, anthropic: bool) -> Front:
    """The front whose form an answer has, whatever becomes of the request. `anthropic`: the client says which version
    of Anthropic's API it speaks, which counts for paths that are every front's, and for those that are none's."""
    if anthropic and (target.api is None or target.root == MODELS):
        return FRONTS["messages"]
    return FRONTS.get(target.front, CHAT_FRONT)


def front_at(path: str, *, anthropic: bool) -> Front:
    """The front that a path seems to be for, at the cost of a search: whoever has no key has its error in this form."""
    if anthropic and f"/v1/{MODELS}" in path:
        return FRONTS["messages"]
    return next((front for begin, front in _OTHERS if begin in path), CHAT_FRONT)


_OTHERS: Final = tuple((f"/v1/{front.name}", front) for front in FRONTS.values() if front is not CHAT_FRONT)


def counts(front: Front, provider: Provider, target: Target) -> bool:
    """Whether tokens are counted here, for want of a vendor that does."""
    return target.api == front.counts and provider.protocol == "openai" and front.name not in provider.counting


def converts(front: Front, provider: Provider, target: Target) -> bool:
    """Whether a request becomes a chat request before the provider has it."""
    return (
        front is not CHAT_FRONT
        and target.api == front.creates
        and provider.protocol == "openai"
        and front.name not in provider.speaks
    )


def passes(front: Front, provider: Provider, target: Target) -> bool:
    """Whether a request goes to a vendor that speaks its dialect, with what is to be put right in it."""
    return front.repairs and target.root == front.creates and provider.protocol == "openai"


def check(front: Front, provider: Provider, target: Target) -> None:
    """Raises `UnsupportedApi` for what only a vendor that speaks the front's dialect itself has."""
    if (
        front is not CHAT_FRONT
        and target.front == front.name
        and provider.protocol == "openai"
        and front.name not in provider.speaks
        and target.api != front.creates
    ):
        raise UnsupportedApi(f"{provider.type} has no such API: of {front.name} only {front.creates} is converted")


def lists(front: Front, provider: Provider, target: Target) -> bool:
    """Whether a vendor's list of models takes another form for the client."""
    return (
        front is not CHAT_FRONT
        and target.root == MODELS
        and provider.protocol == "openai"
        and front.name not in provider.counting
    )


def translator(front: Front, provider: Provider, call: Call, notes: Notes, asked: Target) -> Translator | None:
    """Who translates the answer to `call`; None: its bytes stay in Envoy. `asked`: as the client said it."""
    if call.target.root == MODELS and call.method == "GET" and front is not CHAT_FRONT:
        if not lists(front, provider, asked):
            return None
        return Models(front, call, asked.query, provider.translator(call))
    if call.api != CHAT or provider.protocol == "original" or front.name in provider.speaks:
        return provider.translator(call)
    reader = provider.reader(call)
    model = call.model if provider.restores_model(call) else call.upstream_model
    writer = front.writer(call, model or "", notes, reader)
    return Converted(reader, writer, stream=call.stream, thinking=thinking(provider.thinking))
