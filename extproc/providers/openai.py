"""OpenAI, and whoever speaks its API under another base URL (`openaiCustomUrl`)."""

from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import AfterValidator

from extproc.providers import openai_repair
from extproc.providers.base import Body, Provider, with_query
from extproc.providers.blocks import Filled
from extproc.providers.families import Families
from extproc.providers.families_openai import OPENAI
from extproc.providers.protocols import responses_answer, responses_request
from extproc.providers.reader import Reader
from extproc.providers.traits import Traits
from extproc.providers.urls import BaseUrl, merge_query, parse_base_url
from extproc.terms.call import CHAT, RESPONSES, ROOTS, Call, first_segment
from extproc.terms.errors import UnsupportedApi
from extproc.terms.frozen import replace
from extproc.text import jsontext
from extproc.text.jsontext import Fields

_OTHERS: Final = Traits(files=True, strict=True, verbosity=True)


def _base_url(text: str) -> str:
    parse_base_url(text)
    return text


class OfOpenAI(Provider):
    """What OpenAI's models want wherever they are sold. `chatApi`: whether a chat goes as one (`pass`) or as a request
    of the Responses API (`responses`); by default what a model takes there alone goes there, and is told as a chat."""

    knows_developer: ClassVar[bool] = True
    known_families: ClassVar[Families] = OPENAI
    example_model: ClassVar[str] = "gpt-6-luna"

    chat_api: Literal["pass", "responses"] | None = None

    def traits(self, model: str) -> Traits:
        known = self.family(model)
        if known.thinks == "never":
            return replace(_OTHERS, asks="", efforts=(), output=known.output)
        return replace(_OTHERS, efforts=known.efforts or None, output=known.output)

    @property
    def converts(self) -> bool:
        """Whether the Responses API is there for chats that want it."""
        return self.chat_api != "pass"

    def answers_chat(self, call: Call) -> bool:
        body = call.body
        if body is None or ("tools" not in body and self.chat_api is None):  # as nearly all are
            return True
        if call.api != CHAT or self.protocol == "original" or not self.converts:
            return True
        known = self.family(call.upstream_model)
        return not (self.chat_api == "responses" or openai_repair.needs_responses(body, known))

    def responses_path(self, call: Call) -> str:
        """Where a chat goes that its model takes by the Responses API."""
        return self.path(replace(call, target=replace(call.target, api=RESPONSES)))

    def edit(self, fields: Fields, call: Call) -> tuple[str, ...]:
        if openai_repair.MEMBERS.isdisjoint(fields) or call.api != CHAT:
            return ()
        known = self.family(call.upstream_model)
        return openai_repair.repair(fields, known) if known.counts_thinking else ()

    def body(self, call: Call) -> Body:
        if self.answers_chat(call):
            return super().body(call)
        fields, dropped = self.openai_fields(call)
        more = list(dropped)
        return Body(jsontext.dump(responses_request.request(fields, more)), tuple(more))

    def reader(self, call: Call) -> Reader:
        return super().reader(call) if self.answers_chat(call) else responses_answer.ResponsesReader()


class OpenAI(OfOpenAI):
    """Every `/v1/*` API passes."""

    tokens_required: ClassVar[bool] = False

    type: Literal["openai"]
    openai_custom_url: Annotated[str, Filled, AfterValidator(_base_url)] = "https://api.openai.com"
    response_json_schema: dict[str, Any] | None = None

    @cached_property
    def _url(self) -> BaseUrl:
        return parse_base_url(self.openai_custom_url)

    @cached_property
    def _base(self) -> str:
        """A bare host keeps /v1; any other base path stands in its place."""
        return self._url.base or ("" if self._url.endpoint else "/v1")

    @property
    def original_prefixes(self) -> tuple[str, ...]:
        return (f"{self._base}/",)

    def check_original(self, call: Call) -> None:
        super().check_original(call)
        first = first_segment(call.target.path, f"{self._base}/") or ""
        if not self._base and first not in ROOTS:
            raise UnsupportedApi("this path is not served here")

    @property
    def vendor_url(self) -> str:
        return self._url.origin

    def path(self, call: Call) -> str:
        if call.api is None:
            raise UnsupportedApi("this path is not served here")
        if not self.answers_chat(call):
            return self.responses_path(call)
        path = f"{self._base}/{call.api}"
        return with_query(path, merge_query(call.target, self._url.query))

    def credentials(self, call: Call) -> Mapping[str, str]:
        if call.token is not None:
            return super().credentials(call)
        # No key of ours: the client's own goes through, in the form OpenAI reads.
        own = next((call.headers[h] for h in ("x-api-key", "api-key") if h in call.headers), None)
        return {"authorization": f"Bearer {own}"} if own and not call.headers.get("authorization") else {}

    @property
    def converts(self) -> bool:  # whoever speaks OpenAI's API elsewhere has no Responses, as far as we know
        return self.chat_api == "responses" or (self.chat_api is None and self._url.origin == "https://api.openai.com")

    def edit(self, fields: Fields, call: Call) -> tuple[str, ...]:
        if self.response_json_schema is not None and call.api == CHAT:
            fields["response_format"] = jsontext.raw(self.response_json_schema)
        return super().edit(fields, call)
