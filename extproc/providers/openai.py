"""OpenAI, and whoever speaks its API under another base URL (`openaiCustomUrl`)."""

from collections.abc import Mapping
from functools import cached_property, lru_cache
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import AfterValidator

from extproc.providers.base import Provider, with_query
from extproc.providers.blocks import Filled
from extproc.providers.traits import Traits
from extproc.providers.urls import BaseUrl, merge_query, parse_base_url
from extproc.terms.call import CHAT, ROOTS, Call, first_segment
from extproc.terms.errors import UnsupportedApi
from extproc.terms.frozen import replace
from extproc.text import jsontext
from extproc.text.jsontext import Fields
from extproc.text.patterns import NamePatterns

_TO_XHIGH = ("none", "low", "medium", "high", "xhigh")
_SPOKEN: Final = tuple(
    (NamePatterns(names.split()), efforts, output)
    for names, efforts, output in (
        ("gpt-6-sol* gpt-6-luna* gpt-6.1-terra*", (*_TO_XHIGH, "max"), 128_000),
        ("gpt-6*", ("low", "medium", "high", "xhigh", "max"), 128_000),
        ("gpt-5.2* gpt-5.4* gpt-5.5* gpt-5.6*", _TO_XHIGH, 128_000),
        ("gpt-5.1*", ("none", "low", "medium", "high"), 128_000),
        ("gpt-5*", ("minimal", "low", "medium", "high"), 128_000),
        ("o1* o3* o4*", ("low", "medium", "high"), 100_000),
        ("gpt-4.1*", (), 32_768),
        ("gpt-4o-2024-05-13", (), 4_096),
        ("gpt-4o*", (), 16_384),
        ("gpt-4-turbo* gpt-3.5*", (), 4_096),
        ("gpt-4 gpt-4-0*", (), 8_192),
    )
)
"""Names, the efforts that they take, the most tokens of an answer. OpenAI, "GPT-5.6" and "GPT-6" guides, 2026-10; its
pages of the models, and litellm 1.110.2, 2026-11."""

_OTHERS = Traits(files=True, strict=True, verbosity=True)


@lru_cache(maxsize=256)
def openai_traits(model: str) -> Traits:
    """Of one of OpenAI's models, at OpenAI or Azure."""
    for names, efforts, output in _SPOKEN:
        if model in names:
            return replace(_OTHERS, efforts=efforts, asks="effort" if efforts else "", output=output)
    return _OTHERS


def _base_url(text: str) -> str:
    parse_base_url(text)
    return text


class OpenAI(Provider):
    """Every `/v1/*` API passes."""

    tokens_required: ClassVar[bool] = False
    knows_developer: ClassVar[bool] = True

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

    def traits(self, model: str) -> Traits:
        return openai_traits(model)

    def path(self, call: Call) -> str:
        if call.api is None:
            raise UnsupportedApi("this path is not served here")
        path = f"{self._base}/{call.api}"
        return with_query(path, merge_query(call.target, self._url.query))

    def credentials(self, call: Call) -> Mapping[str, str]:
        if call.token is not None:
            return super().credentials(call)
        # No key of ours: the client's own goes through, in the form OpenAI reads.
        own = next((call.headers[h] for h in ("x-api-key", "api-key") if h in call.headers), None)
        return {"authorization": f"Bearer {own}"} if own and not call.headers.get("authorization") else {}

    def edit(self, fields: Fields, call: Call) -> tuple[str, ...]:
        if self.response_json_schema is not None and call.api == CHAT:
            fields["response_format"] = jsontext.raw(self.response_json_schema)
        return ()
