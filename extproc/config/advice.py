"""Advice about a configuration that is correct, but perhaps not what was meant.

Rule: pure, and in words; nothing here refuses anything.
"""

from collections.abc import Callable, Collection, Iterator

from extproc.config.config import Config, Match
from extproc.config.quota_faults import budgets
from extproc.providers import OpenAI, Provider, Qwen
from extproc.providers.lifecycle import retirement


def _takes_everything(match: Match) -> bool:
    """Whether no request can fail to match."""
    hosts = match.hosts and "*" not in match.hosts
    conditions = (match.headers, hosts, match.models is not None, match.ingress, match.services)
    return not any(conditions) and match.path_prefix in ("", "/")


_NATIVE_ONLY: dict[str, Callable[[Qwen], bool]] = {
    "qwenFileIds": lambda p: bool(p.qwen_file_ids),
    "qwenEnableSearch": lambda p: p.qwen_enable_search,
    "reasoningContentMode": lambda p: p.reasoning_content_mode != "passthrough",
}


def _retired(provider: Provider, steps: Collection[str]) -> Iterator[str]:
    """Names of models that their vendor has switched off, or will. `steps`: those that routes say for it. Another
    server than OpenAI's has its own."""
    if isinstance(provider, OpenAI) and provider.vendor_url != "https://api.openai.com":
        return
    probe = provider.failover.health_check_model if provider.failover is not None else None
    asked = {
        "modelMapping": provider.model_mapping.targets,
        "models": [provider.upstream_model(name) or name for name in provider.models or ()],
        "visionModel": filter(None, [provider.vision_model]),
        "the model of a route": steps,
        "failover.healthCheckModel": [provider.upstream_model(probe) or probe] if probe else [],
    }
    for key, names in asked.items():
        for name in dict.fromkeys(names):
            if (known := retirement(provider.type, name)) is not None:
                told = (
                    f"provider {provider.id}: {key}: {name} retires on {known.day}; its successor is {known.successor}"
                )
                probes = " (a probe that cannot succeed keeps every key aside)" if key.startswith("failover") else ""
                yield told + probes


def advice(config: Config) -> Iterator[str]:
    """What to tell whoever wrote it."""
    for _, limit, unpriced, priced in budgets(config):
        if unpriced and priced:
            names = ", ".join(f"{model} at {provider}" for provider, model in unpriced[:5])
            yield f"{limit.said} does not count {names}: there is no price in {limit.currency} for it"
    if config.has_limits and config.redis is not None and not config.shares_limits:
        store = config.usage.store
        yield f"limits are not shared through redis: usage.store is {store}, so each gateway lets the whole through"
    steps: dict[str, list[str]] = {}
    for step in (step for route in config.routes for step in route.steps if step.model):
        steps.setdefault(step.provider, []).append(step.model or "")
    for provider in config.providers:
        if isinstance(provider, Qwen) and (provider.qwen_enable_compatible or provider.protocol == "original"):
            mode = "protocol: original" if provider.protocol == "original" else "qwenEnableCompatible: true"
            for key, is_set in _NATIVE_ONLY.items():
                if is_set(provider):
                    yield f"provider {provider.id}: {key} has no effect with {mode}"
        yield from _retired(provider, steps.get(provider.id, ()))
    first = None
    for route in config.effective_routes:
        if first is not None:
            yield f"route {route.name}: never reached, since route {first} before it takes everything"
        elif _takes_everything(route.match):
            first = route.name
    if first is None:
        yield "no default route: requests that no route takes are answered with 404"
