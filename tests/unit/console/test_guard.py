"""Who may look, and who may not: names, origins, sessions, methods, and what every answer says to the browser."""

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from aiohttp import CookieJar
import pytest

from extproc.config.console import Console
from extproc.console import objection
from extproc.console.guard import COOKIE, HEADERS

from .house import House, configured, looking

JSON = {"Content-Type": "application/json"}
WELL = "/console/api/well"


@pytest.mark.parametrize(
    ("host", "console", "refused"),
    [
        ("127.0.0.1", {}, False),
        ("127.9.9.9", {}, False),
        ("::1", {}, False),
        ("0.0.0.0", {}, True),
        ("::", {}, True),
        ("10.0.0.7", {}, True),
        ("10.0.0.7", {"hosts": ["console.test"]}, True),
        ("10.0.0.7", None, False),
        ("0.0.0.0", {"token": "t" * 20}, False),
        ("0.0.0.0", {"users": {"alice": "secret"}}, False),
        ("0.0.0.0", {"oidcHeader": "X-User"}, False),
    ],
)
def test_who_others_reach_must_be_guarded(host: str, console: Mapping[str, Any] | None, refused: bool) -> None:
    said = objection(host, None if console is None else Console.model_validate(console))
    assert (said is not None) == refused
    if said is not None:
        assert host in said
        assert "console: false" in said


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200),
        ("127.0.0.1:8081", 200),
        ("localhost:9", 200),
        ("LOCALHOST", 200),
        ("localhost.", 200),
        ("[::1]:8081", 200),
        ("console.test", 200),
        ("Console.Test:443", 200),
        ("evil.test", 421),
        ("localhost.evil.test", 421),
        ("console.test.evil.test", 421),
        ("10.0.0.1", 421),
        ("127.0.0.1.nip.test", 421),
        ("", 421),
    ],
)
async def test_under_which_names(host: str, status: int) -> None:
    async with looking(House(configured({"hosts": ["console.test"]}))) as client:
        for path in ("/console/", "/console/api/session"):
            answer = await client.get(path, headers={"Host": host})
            assert answer.status == status, path


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Origin": "http://127.0.0.1:PORT", "Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Origin": "http://evil.test"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://127.0.0.1:1"}, 403),
        ({"Origin": "http://localhost:PORT"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors"}, 403),
    ],
)
async def test_from_which_origins(headers: Mapping[str, str], status: int) -> None:
    async with looking(House()) as client:
        sent = {name: value.replace("PORT", str(client.port)) for name, value in headers.items()}
        assert (await client.get(WELL, headers=sent)).status == status
        posted = await client.post("/console/api/logout", data="{}", headers={**JSON, "X-Console": "1", **sent})
        assert posted.status == status


async def test_a_link_from_elsewhere_opens_the_page_and_nothing_else() -> None:
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    async with looking(House()) as client:
        assert (await client.get("/console/", headers=link)).status == 200
        assert (await client.post("/console/api/logout", data="{}", headers={**JSON, **link})).status == 403


@pytest.mark.parametrize(
    ("method", "kind", "more", "status"),
    [
        ("POST", "application/json", {"X-Console": "1"}, 200),
        ("POST", "application/json", {}, 403),
        ("POST", "text/plain", {"X-Console": "1"}, 415),
        ("POST", "application/x-www-form-urlencoded", {"X-Console": "1"}, 415),
        ("PUT", "application/json", {"X-Console": "1"}, 415),
        ("DELETE", "application/json", {"X-Console": "1"}, 415),
        ("GET", "application/json", {"X-Console": "1"}, 405),
    ],
)
async def test_what_changes_something_cannot_be_sent_by_accident(
    method: str, kind: str, more: Mapping[str, str], status: int
) -> None:
    async with looking(House()) as client:
        headers = {"Content-Type": kind, **more}
        assert (await client.request(method, "/console/api/logout", data="{}", headers=headers)).status == status


async def test_every_answer_is_careful_and_the_pages_load_nothing_from_elsewhere() -> None:
    async with looking(House()) as client:
        for path in ("/console/", "/console/app.js", "/console/style.css", WELL, "/console/api/none", "/console/none"):
            answer = await client.get(path)
            assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS, path
        page = await (await client.get("/console/")).text()
    policy = HEADERS["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy
    assert "style=" not in page
    assert "http" not in page
    assert "<script>" not in page


async def test_without_a_console_there_is_nothing() -> None:
    async with looking(House(configured(False))) as client:
        for path in ("/console", "/console/", "/console/app.js", "/console/api/session", WELL):
            assert (await client.get(path)).status == 404, path


async def test_a_path_is_no_path_of_the_disk() -> None:
    async with looking(House()) as client:
        for path in ("/console/..%2f__init__.py", "/console/%2e%2e/guard.py", "/console/api/../../guard.py"):
            assert (await client.get(path)).status == 404, path


GUARDED = {"users": {"alice": "wonderland"}, "token": "a-token-of-some-length"}


async def logged_in(client: Any, user: str, secret: str, **headers: str) -> Any:
    body = {"user": user, "secret": secret}
    return await client.post("/console/api/login", json=body, headers={"X-Console": "1", **headers})


async def test_a_login_opens_a_session_and_a_logout_ends_it() -> None:
    async with looking(House(configured(GUARDED))) as client:
        client.session._cookie_jar = CookieJar(unsafe=True)  # cookies of an address, as browsers keep them
        assert (await client.get("/console/")).status == 200
        assert (await client.get(WELL)).status == 401
        told = await (await client.get("/console/api/session")).json()
        assert told == {"user": None, "guarded": True, "ways": {"users": True, "token": True, "proxy": False}}
        for user, secret in (("alice", "wander"), ("bob", "wonderland"), ("", "wonderland"), ("", "")):
            assert (await logged_in(client, user, secret)).status == 401
        answer = await logged_in(client, "alice", "wonderland")
        cookie = answer.headers["Set-Cookie"]
        assert {"HttpOnly", "SameSite=Strict", "Path=/console"} <= set(cookie.split("; "))
        assert "Secure" not in cookie
        assert (await client.get(WELL)).status == 200
        assert (await (await client.get("/console/api/session")).json())["user"] == "alice"
        await client.post("/console/api/logout", json={}, headers={"X-Console": "1"})
        assert (await client.get(WELL)).status == 401
        assert (
            "Secure"
            in (await logged_in(client, "", GUARDED["token"], **{"X-Forwarded-Proto": "https"})).headers["Set-Cookie"]
        )


async def test_a_session_ends_with_the_password_that_opened_it() -> None:
    house = House(configured(GUARDED))
    async with looking(house) as client:
        session = (await logged_in(client, "alice", "wonderland")).cookies[COOKIE].value
        cookie = {"Cookie": f"{COOKIE}={session}"}
        assert (await client.get(WELL, headers=cookie)).status == 200
        house.config = configured({**GUARDED, "users": {"alice": "another"}})
        assert (await client.get(WELL, headers=cookie)).status == 401


async def test_the_token_opens_it_for_programs() -> None:
    async with looking(House(configured(GUARDED))) as client:
        assert (await client.get(WELL, headers={"Authorization": f"Bearer {GUARDED['token']}"})).status == 200
        assert (await client.get(WELL, headers={"Authorization": "Bearer wrong"})).status == 401
        assert (await client.get(WELL, headers={"Authorization": "Bearer wonderland"})).status == 401


async def test_who_guesses_waits() -> None:
    async with looking(House(configured(GUARDED))) as client:
        statuses = [(await logged_in(client, "alice", f"guess {i}")).status for i in range(12)]
        assert statuses == [401] * 10 + [429] * 2
        assert (await logged_in(client, "alice", "wonderland")).status == 429


@pytest.mark.parametrize(
    ("proxies", "headers", "status"),
    [
        (["127.0.0.0/8"], [("X-User", "alice")], 200),
        (["127.0.0.0/8"], [], 401),
        (["127.0.0.0/8"], [("X-User", "")], 401),
        (["127.0.0.0/8"], [("X-User", "alice"), ("X-User", "bob")], 401),
        (["10.0.0.0/8"], [("X-User", "alice")], 401),
    ],
)
async def test_a_proxy_says_who_it_is(proxies: list[str], headers: list[tuple[str, str]], status: int) -> None:
    async with looking(House(configured({"oidcHeader": "X-User", "proxies": proxies}))) as client:
        assert (await client.get(WELL, headers=headers)).status == status


async def test_a_form_that_is_none_is_refused() -> None:
    async with looking(House(configured(GUARDED))) as client:
        for body, status in (("[]", 400), ('{"user": 1}', 400), ("{", 400), ('"' + "x" * 9000 + '"', 413)):
            answer = await client.post("/console/api/login", data=body, headers={**JSON, "X-Console": "1"})
            assert answer.status == status, body[:20]


def test_passwords_are_kept_as_hashes_alone() -> None:
    hashed = "sha256:" + sha256(b"wonderland").hexdigest()
    console = Console.model_validate({"users": {"alice": hashed}, "token": "a-token"})
    assert console.user("alice", "wonderland") is not None
    assert console.user("alice", hashed) is None
    assert "a-token" not in repr(console)
