"""Amazon's signature of a request, by botocore, at a time that is passed in.

Rule: signed are exactly content-type, host, the date and a session's token: whatever else goes out Envoy may change.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from pydantic import SecretStr


class Signer:
    """One key pair in one region. botocore is loaded at the first signature: it is nobody's who needs none."""

    def __init__(
        self, access_key: SecretStr, secret_key: SecretStr, session_token: SecretStr | None, region: str
    ) -> None:
        self._keys = access_key, secret_key, session_token
        self._region = region

    @cached_property
    def _auth(self) -> Any:
        from botocore.auth import SigV4Auth
        from botocore.credentials import Credentials

        keys = (None if key is None else key.get_secret_value() for key in self._keys)
        return SigV4Auth(Credentials(*keys), "bedrock", self._region)

    def headers(self, host: str, path: str, body: bytes, now: int) -> Mapping[str, str]:
        """What a POST of JSON carries. `host`: the authority that will be sent; `path` as it is sent, with its `%XX`,
        which the signature quotes once more. `now`: seconds since 1970."""
        from botocore.awsrequest import AWSRequest

        date = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")
        headers = {"content-type": "application/json", "host": host, "x-amz-date": date}
        if (token := self._keys[2]) is not None:
            headers["x-amz-security-token"] = token.get_secret_value()
        request = AWSRequest(method="POST", url=f"https://{host}{path}", data=body, headers=headers)
        request.context["timestamp"] = date
        auth = self._auth
        signature = auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request)
        signed = auth.signed_headers(auth.headers_to_sign(request))
        del headers["host"]
        credential = f"Credential={auth.scope(request)}, SignedHeaders={signed}, Signature={signature}"
        return {**headers, "authorization": f"AWS4-HMAC-SHA256 {credential}"}
