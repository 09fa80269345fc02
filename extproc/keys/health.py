"""Health checks: every key that only a working chat brings back is asked for one, now and then.

Rule: a check is a request like any other, made by the provider itself and sent where and as Envoy would send it; only
a whole 200 counts. Without a key that is set aside nothing is sent.
"""

import asyncio
from collections.abc import Awaitable, Callable
import secrets
import ssl
import time

import aiohttp
import structlog
from yarl import URL

from extproc.config.config import Config
from extproc.config.describe import redact
from extproc.keys.choice import Keys, fingerprint
from extproc.providers import Provider
from extproc.providers.blocks import Failover
from extproc.terms.call import CHAT, Call, parse_path
from extproc.terms.errors import ProxyError
from extproc.text import jsontext

log = structlog.get_logger("extproc.health")

_LONGEST_NAP = 1.0
"""Seconds after which a changed configuration, or a newly set aside key, is noticed at the latest."""

_CHAT = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 16}
"""OpenAI's API takes no fewer than 16 tokens in some places."""

Claim = Callable[[str, str, float], Awaitable[bool]]
"""Whether this process is the one to check a key now: provider, fingerprint, seconds until the next check."""


def chat(provider: Provider, model: str, token: str, now: int, nonce: int) -> tuple[Provider, Call]:
    """A small chat as a client would ask for it, and who makes a vendor's request of it: the provider, speaking
    OpenAI's API also where its clients speak the vendor's own."""
    speaking = provider.model_copy(update={"protocol": "openai"}) if provider.protocol == "original" else provider
    given = jsontext.fields(jsontext.dump({"model": model, **_CHAT}))
    body = speaking.settled(given)
    call = Call(
        target=parse_path(f"/v1/{CHAT}"),
        method="POST",
        headers={"content-type": "application/json"},
        body=body,
        text=jsontext.dump(body),
        model=model,
        upstream_model=speaking.upstream_model(model),
        token=token,
        now=now,
        nonce=nonce,
    )
    return speaking, call


async def ask(provider: Provider, model: str, token: str, session: aiohttp.ClientSession) -> str | None:
    """Ask a key for a chat; what is wrong with the answer, None if nothing is."""
    speaking, call = chat(provider, model, token, int(time.time()), secrets.randbits(96))
    place = provider.upstream
    try:
        request = speaking.request(call)
        host = f"[{place.address}]" if ":" in place.address else place.address
        url = URL(f"{'https' if place.tls else 'http'}://{host}:{place.port}{request.path}", encoded=True)
        headers = {"host": place.authority, "content-type": "application/json", **request.headers}
        trust = ssl.create_default_context(cafile=provider.tls.ca_file) if place.tls else True
        async with session.post(
            url,
            data=call.text if request.body is None else request.body,
            headers=headers,
            ssl=trust,
            server_hostname=place.sni if place.tls else None,
            allow_redirects=False,  # a key must not follow one to another host
        ) as answer:
            async for _ in answer.content.iter_chunked(1 << 16):  # an answer that breaks off is none
                pass
            return None if answer.status == 200 else f"status {answer.status}"
    except ProxyError as error:
        return error.code or error.type
    except (OSError, aiohttp.ClientError) as error:
        return type(error).__name__ if not str(error) else str(error)


class Checks:
    """Checks the keys of `keys` for ever. `config`: the configuration as it is now. `claim`: see `Claim`."""

    def __init__(self, config: Callable[[], Config], keys: Keys, claim: Claim) -> None:
        self._config = config
        self._keys = keys
        self._claim = claim
        self._due: dict[tuple[str, str], float] = {}
        self._asked: set[tuple[str, str]] = set()
        self._reasons: dict[tuple[str, str], str] = {}

    async def run(self) -> None:
        """Look for keys to check, until cancelled."""
        connector = aiohttp.TCPConnector(force_close=True)
        async with aiohttp.ClientSession(connector=connector) as session, asyncio.TaskGroup() as group:
            while True:
                nap = _LONGEST_NAP
                found: dict[tuple[str, str], float] = {}
                for provider in self._config().providers:
                    policy = provider.failover
                    if policy is None or not policy.checks:
                        continue
                    interval = policy.health_check_interval / 1000
                    nap = min(nap, interval)
                    for token in self._keys.set_aside(provider):
                        known = (provider.id, fingerprint(token))
                        wait = self._wait(known, interval)
                        if wait <= 0 and known not in self._asked:
                            self._asked.add(known)
                            group.create_task(self._check(provider, policy, token, session))
                        found[known] = self._due[known]
                        nap = min(nap, wait) if wait > 0 else nap
                self._due = found
                self._reasons = {known: reason for known, reason in self._reasons.items() if known in found}
                await asyncio.sleep(nap)

    def _wait(self, known: tuple[str, str], interval: float) -> float:
        """Seconds until a key is to be checked; not positive where that is now, and the next time is noted."""
        now = asyncio.get_running_loop().time()
        due = self._due.setdefault(known, now + interval)
        if due <= now:
            self._due[known] = now + interval
        return due - now

    async def _check(self, provider: Provider, policy: Failover, token: str, session: aiohttp.ClientSession) -> None:
        known = (provider.id, fingerprint(token))
        try:
            if await self._claim(*known, policy.health_check_interval / 1000):
                async with asyncio.timeout(policy.health_check_timeout / 1000):
                    problem = await ask(provider, policy.health_check_model or "", token, session)
                self._judge(provider, token, problem)
        except TimeoutError:
            self._judge(provider, token, f"no answer within {policy.health_check_timeout} ms")
        except Exception:
            log.exception("a health check failed unexpectedly", provider=provider.id)
        finally:
            self._asked.discard(known)

    def _judge(self, provider: Provider, token: str, problem: str | None) -> None:
        """Say the verdict, a refusal only when it is another than the last."""
        known = (provider.id, fingerprint(token))
        self._keys.checked(provider, token, problem is None)
        if problem is not None and self._reasons.get(known) != problem:
            self._reasons[known] = problem
            log.warning("key health check failed", provider=provider.id, key=redact(token), reason=problem)
