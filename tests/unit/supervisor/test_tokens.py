"""Tokens that Google's library makes of a service account, against a token server of ours."""

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
import json
import threading
from urllib.parse import parse_qs

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from pydantic import SecretStr
import pytest

from extproc.providers.base import TokenSource
from extproc.supervisor.tokens import TokenError, token

SCOPE = "https://www.googleapis.com/auth/cloud-platform"


@contextmanager
def server(status: int, answer: dict[str, object]) -> Iterator[tuple[str, list[dict[str, list[str]]]]]:
    asked: list[dict[str, list[str]]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(parse_qs(self.rfile.read(int(self.headers["content-length"])).decode()))
            body = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.server_port}/token", asked
        finally:
            listening.shutdown()
            thread.join()


def account(url: str) -> TokenSource:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    info = {
        "type": "service_account",
        "client_email": "a@p.test",
        "private_key": pem,
        "token_uri": url,
        "project_id": "p",
    }
    return TokenSource(SecretStr(json.dumps(info)), SCOPE)


@pytest.mark.parametrize(
    ("life", "pause"),
    [(3600, 3300), (400, 200), (100, 50), (20, 30), (None, 3300)],
    ids=["5 min before the end", "half its life", "short", "not more than once in 30 s", "of unknown life"],
)
def test_a_token_is_made_anew_ahead_of_its_end(life: int | None, pause: int) -> None:
    told = {"access_token": "ya29.x", "token_type": "Bearer"} | ({} if life is None else {"expires_in": life})
    with server(200, told) as (url, asked):
        made, seconds = token(account(url))
    assert made == "ya29.x"
    assert abs(seconds - pause) < 20
    (form,) = asked
    assert form["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]


def test_a_key_that_is_refused_is_said_without_it() -> None:
    with server(400, {"error": "invalid_grant", "error_description": "Invalid JWT Signature."}) as (url, asked):
        source = account(url)
        with pytest.raises(TokenError, match="the key is refused"):
            token(source)
    assert len(asked) == 1


@pytest.mark.parametrize("key", ["{}", "not JSON", '{"type": "authorized_user"}'])
def test_what_is_no_service_account(key: str) -> None:
    with pytest.raises(TokenError, match="not a service account") as error:
        token(TokenSource(SecretStr(key), SCOPE))
    assert key not in str(error.value)
