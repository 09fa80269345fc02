"""Amazon's wire: binary messages of an event stream, and the signature of a request.

Rule: encoding and checking alone, without Amazon's libraries, so that these can be referees of both sides. Source:
"Event stream encoding" and "Signature Version 4" in AWS' documents, read 2026-11-30.
"""

from collections.abc import Mapping
import hashlib
import hmac
import re
from urllib.parse import quote
import zlib

SECRETS: Mapping[str, str] = {"AKIASIMULATED0000001": "sk-sim-aws-secret"}
"""Key pairs that the stand-in knows, as a test may use them."""

_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/([^/]+)/aws4_request, ?"
    r"SignedHeaders=([^,]+), ?Signature=(\w+)"
)


def message(headers: Mapping[str, str], payload: bytes) -> bytes:
    """One message with text `headers`: bytes."""
    packed = b"".join(
        len(name).to_bytes(1, "big") + name.encode() + b"\x07" + len(text := value.encode()).to_bytes(2, "big") + text
        for name, value in headers.items()
    )
    prelude = (16 + len(packed) + len(payload)).to_bytes(4, "big") + len(packed).to_bytes(4, "big")
    body = prelude + zlib.crc32(prelude).to_bytes(4, "big") + packed + payload
    return body + zlib.crc32(body).to_bytes(4, "big")


def wrong_signature(method: str, raw_path: str, headers: Mapping[str, str], body: bytes, service: str) -> str | None:
    """What is wrong with a request's signature, in Amazon's words; None where it is right."""
    found = _AUTHORIZATION.fullmatch(headers.get("authorization", ""))
    if found is None:
        return "Authorization header requires 'Credential', 'SignedHeaders' and 'Signature' parameters."
    key, day, region, told, names, signature = found.groups()
    secret = SECRETS.get(key)
    if secret is None:
        return "The security token included in the request is invalid."
    if told != service:
        return f"Credential should be scoped to correct service: '{service}'."
    signed = names.split(";")
    host = headers.get("host", "")
    if region not in host and host.endswith("amazonaws.com"):
        return f"Credential should be scoped to a valid region: {host}."
    if "host" not in signed or not all(name in headers for name in signed):
        return "'Host' or a signed header must be present in the request."
    path, _, query = raw_path.partition("?")
    canonical = "\n".join(
        [
            method,
            quote(path, safe="/-_.~"),
            "&".join(sorted(query.split("&"))) if query else "",
            *(f"{name}:{' '.join(headers[name].split())}" for name in signed),
            "",
            names,
            headers.get("x-amz-content-sha256") or hashlib.sha256(body).hexdigest(),
        ]
    )
    scope = f"{day}/{region}/{told}/aws4_request"
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    text = f"AWS4-HMAC-SHA256\n{headers.get('x-amz-date', '')}\n{scope}\n{digest}"
    step = f"AWS4{secret}".encode()
    for part in (day, region, told, "aws4_request"):
        step = hmac.new(step, part.encode(), hashlib.sha256).digest()
    if not hmac.compare_digest(hmac.new(step, text.encode(), hashlib.sha256).hexdigest(), signature):
        return "The request signature we calculated does not match the signature you provided."
    return None
