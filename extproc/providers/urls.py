"""A vendor's base URL, as users write it, and the path it gives each API.

Rule: grammar only; what a form means is said by the vendor that accepts it.
"""

from dataclasses import dataclass
from urllib.parse import unquote

from extproc.providers.blocks import http_parts, is_plain
from extproc.terms.call import Target

_ENDPOINTS = (
    "chat/completions",
    "completions",
    "embeddings",
    "responses",
    "models",
    "moderations",
    "images/generations",
    "images/edits",
    "images/variations",
    "audio/speech",
    "audio/transcriptions",
    "audio/translations",
    "files",
    "uploads",
    "batches",
    "fine_tuning/jobs",
    "fine_tuning/checkpoints",
    "vector_stores",
    "conversations",
    "videos",
    "realtime",
)


@dataclass(frozen=True, slots=True)
class BaseUrl:
    """`origin`: scheme and host. `base`: path without trailing slash. `endpoint`: the API that the URL was written
    for, if it was a full endpoint. `query`: what every request carries."""

    origin: str
    base: str
    endpoint: str | None
    query: str


def parse_base_url(text: str) -> BaseUrl:
    """Splits a base URL; a missing scheme means https. Raises `ValueError` where there is no host, or a login."""
    parts = http_parts(text if "://" in text else f"https://{text}")
    if "@" in parts.netloc or not is_plain(text):
        raise ValueError(
            "must be a URL such as https://host:port/path, without login, white space and what is not ASCII"
        )
    path = parts.path.rstrip("/")
    endpoint = next((e for e in _ENDPOINTS if path.endswith(f"/{e}")), None)
    if path.endswith(f"/deployments/{endpoint}"):  # Azure's deployments may be called anything
        endpoint = None
    base = path.removesuffix(f"/{endpoint}") if endpoint else path
    return BaseUrl(f"{parts.scheme}://{parts.netloc}", base, endpoint, parts.query)


def merge_query(target: Target, configured: str, *owned: str) -> str:
    """The client's query and the configured one, whose parameters replace those of the same name.

    `owned`: parameters that are the configuration's to say, so the client's are dropped even if it says none.
    """
    if not configured and not owned:
        return target.query
    names = {pair.partition("=")[0] for pair in configured.split("&") if pair} | set(owned)
    kept = [pair for pair in target.query.split("&") if unquote(pair.partition("=")[0]) not in names]
    return "&".join(filter(None, ["&".join(kept), configured]))
