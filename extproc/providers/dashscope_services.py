"""DashScope's services beside chat: rerank and images, in OpenAI's (and for rerank, everybody's) terms.

Rule: request and answer of each, nothing else. Speech and transcription take and give links to files, where OpenAI's
have the file itself: they are the client's 404 with that reason. Source: dashscope 2.0.2 (paths, members), agentscope
2.0.11's cards, Model Studio's API reference, 2026-11-30.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from extproc.providers.translator import Translator
from extproc.terms.call import Call
from extproc.terms.errors import BadUpstreamResponse, InvalidParameter, MissingParameter
from extproc.text import jsontext
from extproc.text.jsontext import NULL, Fields, NotJson

RERANK: Final = "/api/v1/services/rerank/text-rerank/text-rerank"
COMPATIBLE_RERANK: Final = "/compatible-api/v1/reranks"
IMAGES: Final = "/api/v1/services/aigc/multimodal-generation/generation"

NO_SPEECH: Final = (
    "qwen's speech answers with a link to a file, and its transcription takes one, where OpenAI's have the file "
    "itself; protocol: original reaches both"
)


class Service(NamedTuple):
    """`path`: where it is. `request`: the vendor's body of the client's fields and the vendor's model; what it drops
    goes to the list. `translator`: of its answer, for a call and the model's name that the client gets."""

    path: str
    request: Callable[[Fields, str, list[str]], Mapping[str, Any]]
    translator: Callable[[Call, str | None], Translator]


def _rerank_request(fields: Fields, model: str, dropped: list[str]) -> Mapping[str, Any]:
    for name in ("query", "documents"):
        if fields.get(name, NULL) == NULL:
            raise MissingParameter(f"{name} is missing", param=name)
    names = {"top_n": "top_n", "return_documents": "return_documents", "instruct": "instruct"}
    parameters = {theirs: fields[ours] for ours, theirs in names.items() if fields.get(ours, NULL) != NULL}
    dropped += (name for name in fields if name not in (*names, "model", "query", "documents", "user"))
    return {
        "model": model,
        "input": {"query": fields["query"], "documents": fields["documents"]},
        "parameters": parameters,
    }


def _image_request(fields: Fields, model: str, dropped: list[str]) -> Mapping[str, Any]:
    prompt = jsontext.peek(fields.get("prompt", NULL))
    if not isinstance(prompt, str) or not prompt:
        raise MissingParameter("prompt is missing", param="prompt")
    if jsontext.peek(fields.get("response_format", NULL)) == "b64_json":
        raise InvalidParameter("response_format: this vendor gives a link to each image (url)", param="response_format")
    parameters: dict[str, Any] = {}
    size = jsontext.peek(fields.get("size", NULL))
    if isinstance(size, str) and size != "auto":
        parameters["size"] = size.replace("x", "*")
    for name in ("n", "seed", "negative_prompt", "prompt_extend", "watermark"):
        if fields.get(name, NULL) != NULL:
            parameters[name] = fields[name]
    known = {"model", "prompt", "size", "response_format", "user", *parameters}
    dropped += (name for name in fields if name not in known)
    said = [{"role": "user", "content": [{"text": prompt}]}]
    return {"model": model, "input": {"messages": said}, "parameters": parameters}


class _Answer(Translator):
    gathers = True  # nobody streams these

    def __init__(self, call: Call, model: str | None) -> None:
        self._model = model
        self._now = call.now

    def body(self, body: bytes) -> bytes:
        """Raises `BadUpstreamResponse`."""
        try:
            document = jsontext.load(body)
            self.raw_usage = document.get("usage")
            return jsontext.dump(self._told(document))
        except (NotJson, LookupError, TypeError, AttributeError):
            raise BadUpstreamResponse("the vendor's answer cannot be read") from None

    def _told(self, document: dict[str, Any]) -> dict[str, Any]:
        raise NotImplementedError


class Rerank(_Answer):
    """`results` with index and score, as Cohere, Jina and vLLM answer."""

    def _told(self, document: dict[str, Any]) -> dict[str, Any]:
        results = [
            {name: one[name] for name in ("index", "relevance_score", "document") if name in one}
            for one in document["output"]["results"]
        ]
        usage = {"total_tokens": self.usage.total_tokens or 0}
        head = {"id": f"rerank-{document.get('request_id', '')}", "object": "list", "model": self._model}
        return {**head, "results": results, "usage": usage}


class Images(_Answer):
    """`data` with a link to each image."""

    def _told(self, document: dict[str, Any]) -> dict[str, Any]:
        choices = document["output"]["choices"]
        links = [part["image"] for choice in choices for part in choice["message"]["content"] if "image" in part]
        return {"created": self._now, "data": [{"url": link} for link in links]}


SERVICES: Final[Mapping[str, Service]] = {
    "rerank": Service(RERANK, _rerank_request, Rerank),
    "reranks": Service(RERANK, _rerank_request, Rerank),
    "images/generations": Service(IMAGES, _image_request, Images),
}
"""By OpenAI's path."""
