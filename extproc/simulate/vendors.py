"""Which vendor a request is for, and who it must say it is.

Rule: told apart by the Host header, those without a name of their own by path; then credentials, before anything else.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from extproc.simulate import azure, compatible, dashscope, moonshot, openai, table
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


def find(path: str, host: str, options: Options) -> tuple[Vendor, str] | None:
    """Who answers `path` (str) at `host` (str): (Vendor, the path after its base), or None. Hosts that nobody knows
    speak OpenAI, whatever stands before its paths."""
    name = host.partition(":")[0].lower()
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
TYPES = frozenset(type_of(vendor.name) for vendor in (*_NAMED, *table.ALL))
"""The types of providers that are simulated."""
_LOCAL = ("127.0.0.1", "localhost", "")


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
        if name in CREDENTIALS and name != vendor.key_header:
            raise Refusal(400, f"simulator: foreign credential reached the vendor: {name}", code="LeakedHeader")
    if names.count(vendor.key_header) > 1:
        raise Refusal(400, f"simulator: {vendor.key_header} is there more than once", code="LeakedHeader")
    host = dict(headers).get("host", "")
    if options.strict_host and not matches(host.partition(":")[0].lower(), vendor.hosts):
        raise Refusal(400, f"simulator: host {host!r} is not this vendor's", code="WrongHost")
    if vendor.keyless:
        if vendor.key_header in names:
            raise Refusal(400, "simulator: a key reached a vendor that has none", code="LeakedHeader")
        return
    key = dict(headers).get(vendor.key_header, "")
    if vendor.key_header == "authorization":
        scheme, _, key = key.partition(" ")
        if scheme.lower() != "bearer":
            raise vendor.wrong_key.with_traceback(None)
    if not options.accepts(vendor.name, key):
        raise vendor.wrong_key.with_traceback(None)


def check_length(vendor: Vendor, method: str, headers: dict[str, str]) -> None:
    """Refuse a body without `content-length` where the vendor demands one."""
    if vendor.needs_length and method in ("POST", "PUT") and "content-length" not in headers:
        raise Refusal(411, "Length Required", code="LengthRequired")
