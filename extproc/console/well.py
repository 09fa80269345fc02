"""Is it well? What is known of every part, with what is wrong first.

Rule: facts that somebody else has; judged here, in words that the page translates. Never a key: its last characters.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
import math
import time
from typing import Any, Final

from extproc.config.config import Config
from extproc.config.describe import redact
from extproc.console.house import House
from extproc.console.hub import Hub
from extproc.keys.choice import fingerprint
from extproc.providers import Provider
from extproc.providers.lifecycle import retirement
from extproc.worker.channel import Rested

SOON_DAYS: Final = 30
"""A certificate or a model that ends within so many days is worth a word."""


async def well(house: House, hub: Hub) -> dict[str, Any]:
    """Everything the page shows. `wrong`: what is not as it should be, as `[kind, name]` pairs, the worst first."""
    envoy, vendors, redis, _ = await asyncio.gather(house.envoy(), house.vendors(), house.redis(), hub.fresh())
    config, now = house.config, time.monotonic()
    out = dict(envoy.get("left_out", {})) if envoy else {}  # type: ignore[call-overload]
    recent, reached = hub.recent(), {str(one["provider"]): one for one in vendors}
    found: dict[str, Any] = {
        "ready": house.not_ready() is None,
        "reason": house.not_ready(),
        "trouble": dict(house.trouble()),
        "vendors": [_vendor(p, reached.get(p.id, {}), recent.get(p.id), out.get(p.id)) for p in config.providers],
        "keys": [key for p in config.providers for key in _keys(p, house.rests(), now)],
        "workers": list(house.processes()),
        "envoy": envoy,
        "redis": redis,
        "certificates": [*house.certificates(), *_certificates(vendors)],
        "configuration": house.configuration(),
        "retired": list(_retired(config, date.today())),
        "now": time.time(),
    }
    return {**found, "wrong": list(_wrong(found))}


def _vendor(
    provider: Provider, reached: Mapping[str, object], recent: Mapping[str, Any] | None, out: object
) -> dict[str, Any]:
    state = "idle"
    if recent is not None:
        state = "failing" if recent["failing"] else "answering"
    if reached.get("reason"):
        state = "unreachable"
    if out:
        state = "out"
    upstream = provider.upstream
    return {
        "id": provider.id,
        "type": provider.type,
        "host": f"{upstream.address}:{upstream.port}",
        "state": state,
        "reason": reached.get("reason"),
        "recent": recent,
        "out": out,
    }


def _keys(provider: Provider, rests: Sequence[Rested], now: float) -> Iterator[dict[str, Any]]:
    resting = {rest.fingerprint: rest for rest in rests if rest.provider == provider.id}
    for token in provider.tokens:
        secret = token.get_secret_value()
        rest = resting.get(fingerprint(secret))
        state = "serving" if rest is None else "aside" if rest.aside else "resting"
        more = {} if rest is None or math.isinf(rest.until) else {"seconds": round(rest.until - now)}
        yield {"provider": provider.id, "key": redact(secret), "state": state, **more}


def _certificates(vendors: Sequence[Mapping[str, object]]) -> Iterator[dict[str, Any]]:
    for vendor in vendors:
        if vendor.get("ends"):
            yield {"name": vendor["host"], "ends": vendor["ends"], "whose": vendor["provider"]}


def _retired(config: Config, today: date) -> Iterator[dict[str, Any]]:
    """Models that the configuration names and their vendors have switched off, or will soon."""
    for provider in config.providers:
        for name in dict.fromkeys(filter(None, _names(provider, config))):
            end = retirement(provider.type, name)
            if end is not None and (end.day - today).days <= SOON_DAYS:
                gone = end.day <= today
                yield {
                    "provider": provider.id,
                    "model": name,
                    "day": end.day.isoformat(),
                    "successor": end.successor.removesuffix(" (ours)"),
                    "gone": gone,
                }


def _names(provider: Provider, config: Config) -> Iterator[str]:
    yield from provider.names or ()
    yield from provider.model_mapping.written.values()
    for route in config.effective_routes:
        yield from (step.model or "" for step in route.steps if step.provider == provider.id)


def _wrong(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if not found["ready"]:
        yield "not_ready", str(found["reason"])
    for problem in found["configuration"]["refused"]:
        yield "refused", str(problem)
    for name, reason in found["trouble"].items():
        yield "trouble", f"{name}: {reason}"
    for vendor in found["vendors"]:
        if vendor["state"] in ("failing", "unreachable", "out"):
            yield vendor["state"], vendor["id"]
    serving = {key["provider"] for key in found["keys"] if key["state"] == "serving"}
    for provider in dict.fromkeys(key["provider"] for key in found["keys"]):
        if provider not in serving:
            yield "no_key", provider
    for key in found["keys"]:
        if key["state"] == "aside":
            yield "key_aside", f"{key['provider']} {key['key']}"
    if found["redis"] is not None and found["redis"].get("reason"):
        yield "redis", str(found["redis"]["reason"])
    for certificate in found["certificates"]:
        if certificate["ends"] - found["now"] < SOON_DAYS * 86400:
            yield "certificate", str(certificate["name"])
    for model in found["retired"]:
        yield ("retired" if model["gone"] else "retires"), f"{model['provider']}: {model['model']}"
