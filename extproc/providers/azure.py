"""Azure OpenAI: the four ways to write `azureServiceUrl`, and the path each gives an API.

Source of the forms: Azure OpenAI REST reference and "API version lifecycle" (learn.microsoft.com, 2026).
"""

from collections.abc import Mapping
from functools import cached_property
import re
from typing import Annotated, Literal
from urllib.parse import quote, unquote

from pydantic import AfterValidator

from extproc.providers.base import with_query
from extproc.providers.blocks import Filled
from extproc.providers.openai import OfOpenAI
from extproc.providers.urls import BaseUrl, merge_query, parse_base_url
from extproc.terms.call import Call
from extproc.terms.errors import InvalidParameter, MissingParameter, UnsupportedApi
from extproc.text import jsontext
from extproc.text.jsontext import Fields

_DEPLOYMENT = re.compile(r".*/openai/deployments/[^/]+")
_NOT_PER_MODEL = frozenset(
    "assistants batches containers conversations evals files fine_tuning models responses threads uploads "
    "vector_stores".split()
)
"""Azure serves these for the resource, beside the deployments."""


_TELLS_USAGE = "2024-09"
"""The month of the first API version that takes `stream_options` ("API version lifecycle", changes of
2024-09-01-preview, 2026): older ones answer 400."""


def _service_url(text: str) -> str:
    url = parse_base_url(text)
    if url.base.endswith("/openai/v1"):
        return text
    if not re.search(r"(?:^|&)api-version=[^&]", url.query):
        raise ValueError("must end in ?api-version=…, unless it is the v1 API (https://RESOURCE/openai/v1)")
    if url.base not in ("", "/openai") and not _DEPLOYMENT.fullmatch(url.base):
        raise ValueError(
            "must be one of https://R/openai/deployments/D/chat/completions?api-version=V, "
            "https://R/openai/deployments/D?api-version=V, https://R?api-version=V, https://R/openai/v1"
        )
    return text


class Azure(OfOpenAI):
    type: Literal["azure"]
    azure_service_url: Annotated[str, Filled, AfterValidator(_service_url)]

    @cached_property
    def _url(self) -> BaseUrl:
        return parse_base_url(self.azure_service_url)

    @property
    def vendor_url(self) -> str:
        return self._url.origin

    def path(self, call: Call) -> str:
        if call.api is None:
            raise UnsupportedApi("Azure OpenAI has no API at this path")
        if not self.answers_chat(call):
            return self.responses_path(call)
        query = merge_query(call.target, self._url.query, "api-version")
        return with_query(f"{self._base(call)}/{call.api}", query)

    def _mapped(self, call: Call) -> Fields:
        """A body of the Responses API names the deployment, which a chat's URL does."""
        fields = super()._mapped(call)
        if not self.answers_chat(call) and _DEPLOYMENT.fullmatch(self._url.base):
            fields["model"] = jsontext.raw(unquote(self._url.base.rpartition("/")[2]))
        return fields

    def _base(self, call: Call) -> str:
        base = self._url.base
        if base.endswith("/openai/v1"):
            return base
        resource = base.partition("/openai")[0] + "/openai"
        if call.target.root in _NOT_PER_MODEL:
            return resource
        if _DEPLOYMENT.fullmatch(base):
            return base
        if call.upstream_model is None:
            raise MissingParameter("model is missing: the deployment is chosen by it", param="model")
        if call.upstream_model in (".", ".."):  # Envoy and vendors would walk the path
            raise InvalidParameter("model is no deployment's name", param="model")
        return f"{resource}/deployments/{quote(call.upstream_model, safe='')}"

    def takes_stream_options(self, call: Call) -> bool:
        version = re.search(r"(?:^|&)api-version=(\d{4}-\d\d)", self._url.query)
        return version is None or version[1] >= _TELLS_USAGE

    @property
    def original_prefixes(self) -> tuple[str, ...]:
        return ("/openai/",)

    def credentials(self, call: Call) -> Mapping[str, str]:
        return {"api-key": call.token or ""}
