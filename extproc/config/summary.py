"""What is served, for programs: the admin port's `/config`.

Rule: no key, and nothing in which one may stand (URLs, values of headers, names that a gateway's client shows).
"""

from typing import Any

from extproc.config.config import Config, Route
from extproc.providers import Provider


def summary(config: Config) -> dict[str, Any]:
    """JSON values; the keys are those of the configuration file."""
    return {
        "providers": [_provider(provider) for provider in config.providers],
        "routes": [_route(route) for route in config.effective_routes],
        "clients": [client.name for client in config.clients],
        "maxBodyBytes": config.max_body_bytes,
        "maxBodyValues": config.max_body_values,
        "maxEventBytes": config.max_event_bytes,
        "maxConcurrentRequests": config.max_concurrent_requests,
    }


def _provider(provider: Provider) -> dict[str, Any]:
    upstream = provider.upstream
    return {
        "id": provider.id,
        "type": provider.type,
        "protocol": provider.protocol,
        "host": upstream.address,
        "port": upstream.port,
        "tls": upstream.tls,
        "keys": len(provider.tokens),
        "modelMapping": provider.model_mapping.written,
        "models": provider.names,
    }


def _route(route: Route) -> dict[str, Any]:
    match = route.match
    return {
        "name": route.name,
        "match": {
            "hosts": match.hosts,
            "pathPrefix": match.path_prefix,
            "models": None if match.models is None else match.models.patterns,
            "headers": list(match.headers),
        },
        "provider": [
            [{"provider": step.provider, "model": step.model, "weight": step.weight} for step in group]
            for group in route.provider or ()
        ],
    }
