"""The names of models that a configuration mentions: as many as somebody wrote down, whatever clients say.

Rule: pure. Patterns are no names.
"""

from collections.abc import Iterator

from extproc.config.config import Config


def mentioned_models(config: Config) -> frozenset[str]:
    """Clients' and vendors' names alike."""
    return frozenset(filter(None, _mentioned(config)))


def _mentioned(config: Config) -> Iterator[str]:
    for provider in config.providers:
        yield from provider.models or ()
        yield from provider.model_mapping.names
        yield from provider.model_mapping.targets
        yield provider.vision_model or ""
    for route in config.effective_routes:
        yield from route.match.models.exact if route.match.models is not None else ()
        for step in route.steps:
            yield step.model or ""
    yield from config.telemetry.models
    for client in config.clients:
        yield from client.models.exact
