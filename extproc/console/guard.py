"""Who may look: every request for the console passes here, and every answer leaves with the headers of a careful page.

Rule: fail closed. A name that is not ours is DNS rebinding (the browser believes that it talks to another site), a
foreign origin is another page's doing, and without a session, where one is needed, there is the login form and nothing
else. Nothing is changed by GET.
"""

from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
import ipaddress
import secrets
import time
from typing import Final, TypeVar

from aiohttp import web
import msgspec

from extproc.config.clients import KeyHash
from extproc.config.console import Console
from extproc.console.house import House

T = TypeVar("T")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

PREFIX: Final = "/console"
OPEN: Final = ("/console/api/login", "/console/api/session")
"""What is answered without a session, beside the static files, which say nothing of this gateway."""

HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
COOKIE: Final = "ai-proxy-console"
SESSION_SECONDS: Final = 12 * 3600
_MOST_SESSIONS: Final = 1000
_MOST_FAILURES: Final = 10
_FAILURE_SECONDS: Final = 60.0
_LONGEST_FORM: Final = 8192


def objection(host: str, console: Console | None) -> str | None:
    """Why the console must not be served on this address; None if it may."""
    if console is None or console.guarded or ipaddress.ip_address(host).is_loopback:
        return None
    return (
        f"the admin port listens on {host}, where others reach the console: say who may look (console: users, token or "
        "oidcHeader), switch it off (console: false, or --no-console), or listen on 127.0.0.1 (--admin)"
    )


class Login(msgspec.Struct):
    """The form: a user's password, or the token alone."""

    user: str = ""
    secret: str = ""


@dataclass(frozen=True, slots=True)
class _Session:
    """`kept`: what opened it; it ends with that, or when its time is over."""

    user: str
    kept: KeyHash = field(repr=False)
    ends: float


class Guard:
    def __init__(self, house: House) -> None:
        self._house = house
        self._sessions: dict[str, _Session] = {}
        self._failures: deque[float] = deque(maxlen=_MOST_FAILURES)

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path != PREFIX and not request.path.startswith(f"{PREFIX}/"):
            return await handler(request)
        console = self._house.config.console
        try:
            self._check(request, console)
            answer = await handler(request)
        except web.HTTPException as error:
            if error.status < 400:  # a redirection
                raise
            answer = refused(error.status, error.reason)
        if not answer.prepared:
            answer.headers.update(HEADERS)
            if request.path.startswith(f"{PREFIX}/api/"):
                answer.headers["Cache-Control"] = "no-store"
        return answer

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/console/api/session", self._told),
            web.post("/console/api/login", self._login),
            web.post("/console/api/logout", self._logout),
        ]

    def _check(self, request: web.Request, console: Console | None) -> None:
        """Raises an `HTTPException` for what must not go on."""
        if console is None:
            raise web.HTTPNotFound(reason="there is no console here")
        if not self._is_ours(request, console):
            raise web.HTTPMisdirectedRequest(reason="this host name is not one of console.hosts")
        own = f"{request.scheme}://{request.host}"
        origin, site = request.headers.get("Origin"), request.headers.get("Sec-Fetch-Site")
        page = request.headers.get("Sec-Fetch-Mode") == "navigate" and request.method == "GET"
        # A proxy that ends TLS in front of us says https where we see http: the host is what counts.
        if origin is not None and origin.partition("://")[2] != own.partition("://")[2]:
            raise web.HTTPForbidden(reason="another origin")
        if site not in (None, "same-origin", "none") and not page:
            raise web.HTTPForbidden(reason="another site")
        if request.method not in ("GET", "HEAD"):
            if request.method != "POST" or request.content_type != "application/json":
                raise web.HTTPUnsupportedMediaType(reason="POST with application/json only")
            if origin is None and site is None and "X-Console" not in request.headers:
                raise web.HTTPForbidden(reason="no origin: say X-Console")
        if request.path.startswith(f"{PREFIX}/api/") and request.path not in OPEN and not self.user(request, console):
            raise web.HTTPUnauthorized(reason="log in first")

    def _is_ours(self, request: web.Request, console: Console) -> bool:
        """Whether the `Host` is one under which we listen. A name can be made to lead anywhere, an address cannot."""
        said = request.headers.getall("Host", [])
        if len(said) != 1:
            return False
        name = _name_of(said[0])
        if name in console.hosts or name == "localhost":
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        here = request.transport.get_extra_info("sockname") if request.transport else None
        return address.is_loopback or (here is not None and address == ipaddress.ip_address(here[0]))

    def user(self, request: web.Request, console: Console) -> str | None:
        """Who looks: a name, empty for the token's holder and where nobody need say; None where somebody must."""
        if not console.guarded:
            return "-"
        if console.oidc_header is not None and (said := request.headers.getall(console.oidc_header, [])):
            peer = request.transport.get_extra_info("peername") if request.transport else None
            if len(said) == 1 and said[0] and peer and _within(peer[0], console.proxies):
                return said[0][:100]
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self._opened("", token, console):
            return "-"
        session = self._sessions.get(request.cookies.get(COOKIE, ""))
        if session is None or session.ends < time.monotonic() or not console.knows(session.kept):
            return None
        return session.user

    def _opened(self, user: str, secret: str, console: Console) -> KeyHash | None:
        """What a secret opens, if anything. Raises 429 where too many were wrong."""
        now = time.monotonic()
        if len(self._failures) == _MOST_FAILURES and now - self._failures[0] < _FAILURE_SECONDS:
            raise web.HTTPTooManyRequests(reason="too many wrong passwords: wait a minute")
        kept = console.user(user, secret) if user else console.opened_by(secret)
        if kept is None:
            self._failures.append(now)
        return kept

    async def _told(self, request: web.Request) -> web.Response:
        """Whether a login is needed, and by what."""
        console = self._house.config.console
        assert console is not None
        user = self.user(request, console)
        ways = {"users": bool(console.users), "token": bool(console.token), "proxy": bool(console.oidc_header)}
        return web.json_response({"user": user, "guarded": console.guarded, "ways": ways})

    async def _login(self, request: web.Request) -> web.Response:
        console = self._house.config.console
        assert console is not None
        form = await read(request, Login, _LONGEST_FORM)
        kept = self._opened(form.user, form.secret, console)
        if kept is None:
            raise web.HTTPUnauthorized(reason="that is not it")
        name, now = secrets.token_urlsafe(32), time.monotonic()
        self._sessions = {n: s for n, s in self._sessions.items() if s.ends > now}
        while len(self._sessions) >= _MOST_SESSIONS:
            del self._sessions[next(iter(self._sessions))]
        self._sessions[name] = _Session(form.user or "-", kept, now + SESSION_SECONDS)
        answer = web.json_response({"user": form.user or "-"})
        secure = request.secure or request.headers.get("X-Forwarded-Proto") == "https"
        answer.set_cookie(COOKIE, name, path=PREFIX, httponly=True, samesite="Strict", secure=secure)
        return answer

    async def _logout(self, request: web.Request) -> web.Response:
        self._sessions.pop(request.cookies.get(COOKIE, ""), None)
        answer = web.json_response({})
        answer.del_cookie(COOKIE, path=PREFIX)
        return answer


def refused(status: int, reason: str) -> web.Response:
    """An error, for the page and for people with curl."""
    return web.json_response({"error": reason}, status=status)


async def read(request: web.Request, kind: type[T], most: int) -> T:
    """The JSON body of a request. Raises 400 and 413."""
    body = b""
    async for piece in request.content.iter_chunked(65536):
        body += piece
        if len(body) > most:
            raise web.HTTPRequestEntityTooLarge(max_size=most, actual_size=len(body), reason="too long")
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise web.HTTPBadRequest(reason="not the JSON that belongs here") from None


def _name_of(host: str) -> str:
    """`name:port` or `[address]:port` without the port, lower case."""
    lowered = host.lower()
    if lowered.startswith("["):
        return lowered[1:].partition("]")[0]
    return lowered.partition(":")[0].rstrip(".")


def _within(address: str, networks: tuple[str, ...]) -> bool:
    found = ipaddress.ip_address(address.partition("%")[0])
    mapped = getattr(found, "ipv4_mapped", None) or found
    return any(mapped in ipaddress.ip_network(network) for network in networks)
