"""Google's Vertex AI: Gemini's bodies and Claude's under its own paths; and Google's token server.

Rule: paths and keys, no body. Source: Vertex AI REST reference, `google-genai` 3.6.1 and `anthropic` 2.14.0 as they
ask, "Using OAuth 2.0 for Server to Server Applications", read 2026-11-30.
"""

import json
import re
from typing import Any
from urllib.parse import parse_qs

from extproc.simulate import claude, gemini
from extproc.simulate.call import Answer, Call, answer
from extproc.simulate.claude_checks import refuse
from extproc.simulate.conversation import embed
from extproc.simulate.faults import without_markers
from extproc.simulate.gemini_checks import invalid, only
from extproc.simulate.options import ACCEPTED_PREFIX
from extproc.simulate.refusal import Refusal

_PATH = re.compile(r"/v1(?:beta1)?/(?:projects/([^/]+)/locations/([^/]+)/)?publishers/([^/]+)/models/([^/:]+):(\w+)")
VERSIONS = ("vertex-2023-10-16", "2026-10-21")
TOKEN_PATH = "/token"


def error(refusal: Refusal, request_id: str) -> dict[str, Any]:
    """A refusal: Google's shape, or Anthropic's where its model refused: dict."""
    if refusal.extra.get("anthropic"):
        return claude.error(refusal, request_id)
    return gemini.error(refusal, request_id)


def handle(call: Call) -> Answer:
    """Answer one request (Call) at Vertex AI: Answer, or Refusal."""
    if call.path == TOKEN_PATH:
        return token(call)
    found = _PATH.fullmatch(call.path)
    if found is None or call.method != "POST":
        raise Refusal(404, "The requested URL was not found on this server.")
    project, region, publisher, model, verb = found.groups()
    if project is None and "x-goog-api-key" not in call.headers:
        raise Refusal(401, "API keys are not supported by this API. Expected OAuth2 access token")
    host = call.headers.get("host", "").partition(":")[0]
    if region is not None and host.endswith("googleapis.com") and _host(region) != host:
        raise invalid(f"Location {region} is not served at {host}")
    if publisher == "anthropic":
        return _claude(call, model, verb)
    if verb == "predict":
        return _predict(call)
    if publisher != "google":
        raise Refusal(404, f"Publisher Model `publishers/{publisher}/models/{model}` was not found")
    return gemini.ask(call, model, verb, vertex=True)


def _host(region: str) -> str:
    if region == "global":
        return "aiplatform.googleapis.com"
    return (
        f"aiplatform.{region}.rep.googleapis.com" if region in ("us", "eu") else f"{region}-aiplatform.googleapis.com"
    )


def _claude(call: Call, model: str, verb: str) -> Answer:
    """Anthropic's body without `model`, its version within. Streams are asked by the verb *and* in the body."""
    body = call.json()
    counting = model == "count-tokens"
    try:
        if body.get("anthropic_version") not in VERSIONS:
            raise refuse("anthropic_version: Field required")
        if verb not in ("rawPredict", "streamRawPredict") or (verb == "streamRawPredict") != bool(body.get("stream")):
            raise refuse("stream: does not fit the method")
        if not counting and "model" in body:
            raise refuse("model: Extra inputs are not permitted")
        given = {name: value for name, value in body.items() if name != "anthropic_version"}
        named = {"model": model.replace("@", "-"), **given}
        call.body = json.dumps(named).encode()
        return claude.messages(call, "messages/count_tokens" if counting else "messages", own=True)
    except Refusal as refusal:
        refusal.extra = {**refusal.extra, "anthropic": True}
        raise


def _predict(call: Call) -> Answer:
    body = call.json()
    only(body, "instances parameters", "")
    rows = []
    size = (body.get("parameters") or {}).get("outputDimensionality") or 8
    for one in body.get("instances") or ():
        only(one, "content task_type title", "instances")
        call.heed(one["content"])
        rows.append({"embeddings": {"values": embed(without_markers(one["content"]), size),
                                    "statistics": {"truncated": False, "token_count": 3}}})  # fmt: skip
    if not rows:
        raise invalid("instances is empty")
    return answer({"predictions": rows, "metadata": {"billableCharacterCount": 9}})


def token(call: Call) -> Answer:
    """A token for a service account's assertion, which is not verified: Answer, or Refusal."""
    given = parse_qs(call.body.decode(errors="replace"))
    if given.get("grant_type") != ["urn:ietf:params:oauth:grant-type:jwt-bearer"] or not given.get("assertion"):
        raise Refusal(400, "Bad Request", kind="invalid_grant")
    return answer({"access_token": f"{ACCEPTED_PREFIX}-google", "expires_in": 3599, "token_type": "Bearer"})
