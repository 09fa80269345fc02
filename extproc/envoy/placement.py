"""Where the filter sits in Envoy, and what that asks of Envoy and of a configuration. Pure."""

from typing import Final, Literal

from extproc.config.config import Config

Placement = Literal["upstream", "listener"]
"""`upstream`: in each provider's cluster, once per attempt, so that Envoy falls back and retries. `listener`: in front
of the routes, once per request; works in every gateway, with the first provider of a route only."""

ControlPlane = Literal["envoy", "istio", "higress", "envoy-gateway"]
"""Who configures a gateway that is not ours: by hand, or one of these."""

LEAST_ENVOY: Final = (1, 37)
"""Envoy 1.36.4 crashes on the first retry of a cluster with a filter; 1.37.0 to 1.40.0 do not (2026)."""

COUNTING_ENVOY: Final = (1, 40)
"""The first that counts tokens (`ai_protocol_manager`); what it tells was read with this one."""


def objection(placement: Placement, envoy: tuple[int, ...], config: Config) -> str | None:
    """Why a configuration cannot be served in this place by an Envoy of this version; None if it can."""
    if config.leaves_to_envoy and envoy < COUNTING_ENVOY:
        found, least = (".".join(map(str, version)) for version in (envoy, COUNTING_ENVOY))
        return f"usage.passed: envoy needs Envoy {least} or newer, and this is {found}"
    if placement == "upstream":
        if envoy < LEAST_ENVOY:
            found, least = (".".join(map(str, version)) for version in (envoy, LEAST_ENVOY))
            return (
                f"Envoy {found} crashes when a request is retried with the filter in a provider's cluster; use Envoy "
                f"{least} or newer, or --placement listener"
            )
        return None
    for provider, keys in idle_keys(config).items():
        return f"provider {provider} has {keys[0]}, which needs --placement upstream"
    return attached_objection(config)


def attached_objection(config: Config) -> str | None:
    """The same of a gateway that is not ours."""
    for route in config.effective_routes:
        if len(route.steps) > 1 or route.retry is not None:
            said = "several providers" if len(route.steps) > 1 else "retry"
            return f"route {route.name} has {said}, which needs --placement upstream"
    return None


def idle_keys(config: Config) -> dict[str, list[str]]:
    """Provider → keys of it that do nothing in front of the routes, where Envoy does not know who will be asked."""
    found = {}
    for provider in config.providers:
        blanket = provider.retry_on_failure
        said = {
            "retryOnFailure": blanket is not None and blanket.enabled,
            "outlierDetection": "outlier_detection" in provider.model_fields_set,
        }
        if keys := [key for key, holds in said.items() if holds]:
            found[provider.id] = keys
    return found
