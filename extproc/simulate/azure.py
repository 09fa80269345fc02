"""Azure OpenAI: deployments, the resource form and the v1 API.

Rule: `api-version` is demanded everywhere but under `/openai/v1`; the key comes in `api-key` alone.
Source: Azure OpenAI REST reference and API version lifecycle, 2026.
"""

from dataclasses import replace
import re
from typing import Any

from extproc.simulate.call import Answer, Call
from extproc.simulate.dialect import Dialect
from extproc.simulate.openai import dispatch
from extproc.simulate.refusal import Refusal

BASE = "/openai/"
VERSION = re.compile(r"\d{4}-\d\d-\d\d(-preview)?")
PER_DEPLOYMENT = ("chat", "completions", "embeddings", "audio", "images")
PER_RESOURCE = ("models", "files", "batches", "responses")

CODES = {401: "401", 403: "403", 404: "404", 408: "408", 429: "429"}

INSPECTION = Refusal(
    400,
    "The response was filtered due to the prompt triggering Azure OpenAI's content management policy.",
    code="content_filter",
    param="prompt",
    extra={
        "status": 400,
        "innererror": {
            "code": "ResponsibleAIPolicyViolation",
            "content_filter_result": {
                "hate": {"filtered": True, "severity": "high"},
                "self_harm": {"filtered": False, "severity": "safe"},
                "sexual": {"filtered": False, "severity": "safe"},
                "violence": {"filtered": False, "severity": "safe"},
            },
        },
    },
)


def error(refusal: Refusal, _request_id: str) -> dict[str, Any]:
    """A refusal in Azure's shape: dict. The gateway's own have two fields, the model's more."""
    code = refusal.code or CODES.get(refusal.status)
    body: dict[str, Any] = {"code": code or str(refusal.status), "message": refusal.message}
    if refusal.param is not None or refusal.extra:
        body |= {"param": refusal.param, "type": refusal.kind, **refusal.extra}
    return {"error": body}


DIALECT = Dialect(
    name="GPT（Azure）",
    error=error,
    models=("gpt-4o", "gpt-4o-mini", "text-embedding-3-small"),
    filters=True,
)
BY_DEPLOYMENT = replace(DIALECT, model_required=False)


def handle(call: Call) -> Answer:
    """Answer one request (Call) at Azure: Answer, or Refusal."""
    missing = Refusal(404, "Resource not found", code="404")
    first, _, rest = call.api.partition("/")
    if first == "v1":
        if call.query.get("api-version", "preview") not in ("preview", "latest", "v1"):
            raise Refusal(400, "API version not supported", code="BadRequest")
        call.api = rest
        return _served(call, DIALECT, (*PER_DEPLOYMENT, *PER_RESOURCE))
    if VERSION.fullmatch(call.query.get("api-version", "")) is None:
        raise missing
    if first == "deployments":
        deployment, _, call.api = rest.partition("/")
        if not deployment or deployment.startswith("no-such"):
            raise Refusal(404, "The API deployment for this resource does not exist.", code="DeploymentNotFound")
        return _served(call, BY_DEPLOYMENT, PER_DEPLOYMENT)
    return _served(call, DIALECT, PER_RESOURCE)


def _served(call: Call, dialect: Dialect, served: tuple[str, ...]) -> Answer:
    try:
        return dispatch(call, dialect, served)
    except Refusal as refusal:
        if refusal.code == "unknown_url":
            raise Refusal(404, "Resource not found", code="404") from None
        raise
