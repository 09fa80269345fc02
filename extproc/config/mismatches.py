"""What a configuration says that no vendor can take: a key of another vendor, a model of another region.

Rule: pure; only what is certain, since it refuses to start. Patterns of public scanners for secrets (gitleaks' and
others', read 2026-11-30) know how these keys begin; what begins otherwise is anybody's.
"""

from collections.abc import Iterator, Mapping
import re
from typing import Final

from extproc.config.config import Config
from extproc.config.higress import Location
from extproc.providers import Bedrock, OpenAI, Provider
from extproc.providers.vendors import ROWS

_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "sk-ant-": ("claude",),
    "sk-or-v1-": ("openrouter",),
    "gsk_": ("groq",),
    "xai-": ("grok",),
    "pplx-": ("perplexity",),
    "github_pat_": ("github",),
    "AIzaSy": ("gemini", "vertex"),
}
_REGIONS: Final[Mapping[str, str]] = {
    "us-gov": "us-gov-", "us": "us-", "eu": "eu-", "apac": "ap-", "jp": "ap-northeast-", "au": "ap-southeast-",
    "ca": "ca-",
}  # fmt: skip
"""Of Bedrock's inference profiles: how a model's name begins → how the regions begin that have it."""
_ARN = re.compile(r"arn:[\w-]+:bedrock:([a-z0-9-]+):")


def mismatches(config: Config) -> Iterator[tuple[Location, str]]:
    """Where each stands, and what is wrong with it. No key is in it."""
    for index, provider in enumerate(config.providers):
        if _is_the_vendor(provider):
            for place, token in enumerate(provider.tokens):
                owner = _owner(token.get_secret_value())
                if owner is not None and provider.type not in owner:
                    message = f"the {_ordinal(place)} key is one of {owner[0]}, but type {provider.type} would be asked"
                    yield ("providers", index, "apiTokens"), message
        if isinstance(provider, Bedrock):
            for name in provider.model_mapping.targets:
                if (elsewhere := _elsewhere(name, provider.aws_region)) is not None:
                    yield ("providers", index, "modelMapping"), elsewhere


def _is_the_vendor(provider: Provider) -> bool:
    """Whether the key goes to the vendor itself, and no server of somebody's."""
    if provider.endpoint is not None or (provider.type in ROWS and ROWS[provider.type].own_server):
        return False
    return not isinstance(provider, OpenAI) or provider.vendor_url == "https://api.openai.com"


def _owner(key: str) -> tuple[str, ...] | None:
    return next((types for begin, types in _KEYS.items() if key.startswith(begin) and len(key) > len(begin) + 8), None)


def _ordinal(place: int) -> str:
    return ("first", "second", "third")[place] if place < 3 else f"{place + 1}th"


def _elsewhere(name: str, region: str) -> str | None:
    """What is wrong with a model's name in a region."""
    if (arn := _ARN.match(name)) and arn[1] != region:
        return f"{name[:80]} is of region {arn[1]}, but awsRegion is {region}"
    geography = name.partition(".")[0]
    begin = _REGIONS.get(geography)
    if begin is not None and not region.startswith(begin):
        return f"{name[:80]} is a profile of {geography}, but awsRegion is {region}"
    return None
