"""Which vendor a request is for, and who it must say it is.

Rule: told apart by the Host header, those without a name of their own by path; then credentials, before anything else.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
import re
from typing import Any

from extproc.simulate import azure, bedrock, claude, compatible, dashscope, gemini, moonshot, openai, table, vertex
from extproc.simulate.call import Answer, Call, type_of
from extproc.simulate.conversation import matches
from extproc.simulate.dialect import openai_error
from extproc.simulate.openai import knows
from extproc.simulate.options import Options
from extproc.simulate.refusal import Refusal
from extproc.simulate.table import Facts

CREDENTIALS = ("authorization", "api-key", "x-api-key", "x-goog-api-key")
MOONSHOT_HOSTS = ("api.moonshot.cn", "api.moonshot.ai")


@dataclass(frozen=True, slots=True)
class Vendor:
    """One vendor's API: how it answers, how it refuses, what it expects in the headers."""

    name: str
    handle: Callable[[Call], Answer]
    error: Callable[[Refusal, str], dict[str, Any]]
    hosts: tuple[str, ...]
    inspection: Refusal
    arrears: Refusal
    wrong_key: Refusal = field(default_factory=lambda: Refusal(401, "Incorrect API key provided."))
    key_header: str = "authorization"
    other_key_header: str = ""
    """Where a key may stand instead."""
    checks_keys: bool = False
    """It looks at keys itself: a signature covers the whole request."""
    paths: str = ""
    """How its paths begin, an expression, for who has no host to tell it by."""
    error_headers: Callable[[Refusal], dict[str, str]] = lambda _: {}
    needs_length: bool = False
    keyless: bool = False
    """It asks nobody for a key, and gets none."""
    errors_in_200: bool = False


_NO_QUOTA = Refusal(
    429,
    "You exceeded your current quota, please check your plan.",
    code="insufficient_quota",
    kind="insufficient_quota",
)
_INSPECTED = "Input data may contain inappropriate content."
_OVERDUE = "Access denied, please make sure your account is in good standing."

NATIVE = Vendor(
    name="dashscope",
    handle=dashscope.handle,
    error=dashscope.error,
    hosts=("dashscope*.aliyuncs.com",),
    inspection=Refusal(400, _INSPECTED, code="DataInspectionFailed"),
    arrears=Refusal(400, _OVERDUE, code="Arrearage"),
    wrong_key=Refusal(401, "Invalid API-key provided.", code="InvalidApiKey"),
    needs_length=True,
)
COMPATIBLE = Vendor(
    name="dashscope",
    handle=compatible.handle,
    error=compatible.error,
    hosts=("dashscope*.aliyuncs.com",),
    inspection=Refusal(400, _INSPECTED, code="data_inspection_failed", kind="data_inspection_failed"),
    arrears=Refusal(400, _OVERDUE, code="Arrearage", kind="Arrearage"),
    needs_length=True,
)
OPENAI = Vendor(
    name="openai",
    handle=openai.handle,
    error=openai_error,
    hosts=("api.openai.com",),
    inspection=Refusal(400, "Invalid prompt: your prompt was flagged.", code="invalid_prompt"),
    arrears=_NO_QUOTA,
)
AZURE = Vendor(
    name="azure",
    handle=azure.handle,
    error=azure.error,
    hosts=("*.openai.azure.com", "*.cognitiveservices.azure.com", "*.services.ai.azure.com"),
    inspection=azure.INSPECTION,
    arrears=Refusal(429, "Quota exceeded.", code="insufficient_quota"),
    wrong_key=Refusal(
        401,
        "Access denied due to invalid subscription key or wrong API endpoint. Make sure to provide a valid"
        " key for an active subscription and use a correct regional API endpoint for your resource.",
        code="401",
    ),
    key_header="api-key",
)
MOONSHOT = Vendor(
    name="moonshot",
    handle=moonshot.handle,
    error=moonshot.error,
    hosts=MOONSHOT_HOSTS,
    inspection=Refusal(400, "The request was rejected because it was considered high risk", kind="content_filter"),
    arrears=Refusal(429, "Your account is not active, insufficient balance", kind="exceeded_current_quota_error"),
    wrong_key=Refusal(401, "Invalid Authentication", kind="invalid_authentication_error"),
)
_BAD_KEY = {
    "reason": "API_KEY_INVALID",
    "domain": "googleapis.com",
    "@type": "type.googleapis.com/google.rpc.ErrorInfo",
}
CLAUDE = Vendor(
    name="claude",
    handle=claude.handle,
    error=claude.error,
    hosts=("api.anthropic.com",),
    inspection=Refusal(400, "Output blocked by content filtering policy"),
    arrears=Refusal(400, "Your credit balance is too low to access the Anthropic API."),
    wrong_key=Refusal(401, "invalid x-api-key"),
    key_header="x-api-key",
    other_key_header="authorization",
    paths=r"/v1/messages",
)
GEMINI = Vendor(
    name="gemini",
    handle=gemini.handle,
    error=gemini.error,
    hosts=("generativelanguage.googleapis.com",),
    inspection=Refusal(400, "The request was blocked."),
    arrears=Refusal(429, "You exceeded your current quota, please check your plan and billing details."),
    wrong_key=Refusal(400, "API key not valid. Please pass a valid API key.", extra={"details": [_BAD_KEY]}),
    key_header="x-goog-api-key",
    paths=r"/v1beta/|/v1/models/[^/]+:",
)
VERTEX = Vendor(
    name="vertex",
    handle=vertex.handle,
    error=vertex.error,
    hosts=("aiplatform.googleapis.com", "*-aiplatform.googleapis.com", "aiplatform.*.rep.googleapis.com"),
    inspection=Refusal(400, "The request was blocked."),
    arrears=Refusal(429, "Resource exhausted. Please try again later."),
    wrong_key=Refusal(401, "Request had invalid authentication credentials."),
    other_key_header="x-goog-api-key",
    paths=r"/v1(beta1)?/(projects|publishers)/|/token$",
)
TOKENS = replace(VERTEX, hosts=("oauth2.googleapis.com",), paths="/token$", keyless=True)
BEDROCK = Vendor(
    name="bedrock",
    handle=bedrock.handle,
    error=bedrock.error,
    hosts=("bedrock-runtime.*.amazonaws.com",),
    inspection=Refusal(400, "The model returned the following errors: Output blocked by content filtering policy"),
    arrears=Refusal(429, "Too many tokens, please wait before trying again."),
    checks_keys=True,
    error_headers=bedrock.headers,
    paths=r"/model/",
)
_OWN = (CLAUDE, GEMINI, TOKENS, VERTEX, BEDROCK)


def find(path: str, host: str, options: Options) -> tuple[Vendor, str] | None:
    """Who answers `path` (str) at `host` (str): (Vendor, the path after its base), or None. Hosts that nobody knows
    speak OpenAI, whatever stands before its paths."""
    name = host.partition(":")[0].lower()
    for vendor in _OWN:
        if matches(name, vendor.hosts) or (name in _LOCAL and re.match(vendor.paths, path)):
            return vendor, path
    if path.endswith(("/v1/messages", "/v1/messages/count_tokens")) and (found := _messages_of(name, path)) is not None:
        return found, path
    if (known := table.of(name, path)) is not None:
        return _of_table(known[0]), known[1]
    if name in MOONSHOT_HOSTS:
        bases = [("/v1/", MOONSHOT)]
    else:
        bases = [
            (dashscope.BASE, NATIVE),
            (compatible.BASE, COMPATIBLE),
            (azure.BASE, AZURE),
            (moonshot.BASE, MOONSHOT),
            *((f"{base}/", OPENAI) for base in options.openai_bases),
        ]
    for base, vendor in bases:
        if path.startswith(base):
            return vendor, path.removeprefix(base)
    if name in _LOCAL or matches(name, (host for vendor in _NAMED for host in vendor.hosts)):
        return None
    api = next((api for at in range(path.count("/"), 0, -1) if knows(api := path.split("/", at)[-1])), None)
    return None if api is None else (OPENAI, api)


_NAMED = (NATIVE, COMPATIBLE, OPENAI, AZURE, MOONSHOT)
TYPES = frozenset(type_of(vendor.name) for vendor in (*_NAMED, *_OWN, *table.ALL))
"""The types of providers that are simulated."""
_LOCAL = ("127.0.0.1", "localhost", "")


_MESSAGES = {"dashscope": "/apps/anthropic/v1/messages", "moonshot": "/anthropic/v1/messages"}


def _messages_of(host: str, path: str) -> Vendor | None:
    """Who of those that are no Anthropic answers its Messages at this `path` (str): Vendor or None."""
    bare = path.removesuffix("/count_tokens")
    for vendor in (NATIVE, MOONSHOT):
        if _MESSAGES[vendor.name] == bare and (matches(host, vendor.hosts) or host in _LOCAL):
            return _speaking_messages(vendor)
    for facts in table.ALL:
        if bare in facts.messages.split() and matches(host, facts.hosts.split()):
            return _speaking_messages(_of_table(facts))
    return None


def _speaking_messages(vendor: Vendor) -> Vendor:
    return replace(
        vendor,
        handle=claude.elsewhere,
        error=claude.error,
        errors_in_200=False,
        needs_length=False,
        other_key_header="" if vendor.keyless else "x-api-key",
        wrong_key=Refusal(401, "invalid x-api-key"),
    )


@cache
def _of_table(facts: Facts) -> Vendor:
    return Vendor(
        name=facts.name,
        handle=facts.handle,
        error=facts.vendor_error,
        hosts=tuple(facts.hosts.split()),
        inspection=Refusal(400, _INSPECTED, code="content_filter"),
        arrears=_NO_QUOTA,
        keyless=not facts.key,
        errors_in_200=facts.bare_errors in ("base_resp", "code"),
    )


def check_headers(vendor: Vendor, headers: list[tuple[str, str]], options: Options) -> None:
    """Refuse what a gateway must not send: internal headers, foreign credentials, wrong keys and hosts."""
    names = [name for name, _ in headers]
    for name in names:
        if name.startswith("x-ai-proxy-"):
            raise Refusal(400, f"simulator: internal header reached the vendor: {name}", code="LeakedHeader")
        if name in CREDENTIALS and name not in (vendor.key_header, vendor.other_key_header):
            raise Refusal(400, f"simulator: foreign credential reached the vendor: {name}", code="LeakedHeader")
    shown = [name for name in names if name in (vendor.key_header, vendor.other_key_header)]
    if len(shown) > 1:
        raise Refusal(400, f"simulator: there is more than one key: {', '.join(shown)}", code="LeakedHeader")
    host = dict(headers).get("host", "")
    if options.strict_host and not matches(host.partition(":")[0].lower(), vendor.hosts):
        raise Refusal(400, f"simulator: host {host!r} is not this vendor's", code="WrongHost")
    if vendor.keyless:
        if vendor.key_header in names:
            raise Refusal(400, "simulator: a key reached a vendor that has none", code="LeakedHeader")
        return
    if vendor.checks_keys:
        return
    header = shown[0] if shown else vendor.key_header
    key = dict(headers).get(header, "")
    if header == "authorization":
        scheme, _, key = key.partition(" ")
        if scheme.lower() != "bearer":
            raise vendor.wrong_key.with_traceback(None)
    if not options.accepts(vendor.name, key):
        raise vendor.wrong_key.with_traceback(None)


def check_length(vendor: Vendor, method: str, headers: dict[str, str]) -> None:
    """Refuse a body without `content-length` where the vendor demands one."""
    if vendor.needs_length and method in ("POST", "PUT") and "content-length" not in headers:
        raise Refusal(411, "Length Required", code="LengthRequired")
