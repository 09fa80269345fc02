"""Secrets of a configuration get names of environment variables, so that it can be shown.

Rule: in place, and the meaning stays: what is read under the name is what stood in the file. What can have no name is
taken out and said.
"""

from collections.abc import Iterator, Set
from dataclasses import dataclass, field
import hashlib
import re
from typing import Any
from urllib.parse import unquote

from extproc.config.entries import token_entries
from extproc.config.environment import key_variable, legal_name
from extproc.config.higress import Location, provider_id
from extproc.config.load import Loading
from extproc.config.masking import SHORTEST, is_public, looks_like_key, mask, may_be_key, stands_for_key
from extproc.config.placeholders import VARIABLE, is_literal, split_url
from extproc.config.wording import MOST_QUOTED
from extproc.providers.blocks import is_plain

_URLS = ("azureServiceUrl", "openaiCustomUrl")
_PIECES = re.compile(r"(\$\{\w+\})|((?:(?!\$\{\w+\}).)+)", re.DOTALL)

_HASH = re.compile("sha256:[0-9a-fA-F]{64}")
_NO_SECRETS = frozenset({"keyFile", "keyPrefix", "authHeaderKey", "vertexAuthServiceName"})
UNNAMED = "looks like a key, which cannot come from the environment here: leave it out, or see --keep-keys"
_IN_PATH = "a part of the path looks like a key, which can come from the environment in the query only: see --keep-keys"


_SECRETS = {
    "vertexAuthKey": "AUTH_KEY",
    "awsAccessKey": "ACCESS_KEY",
    "awsSecretKey": "SECRET_KEY",
    "awsSessionToken": "SESSION_TOKEN",
}
"""Keys of single types that hold a secret, and how its variable ends."""


@dataclass(frozen=True, slots=True)
class Named:
    """A secret that is `what` in words, and the variable for it."""

    name: str
    value: str = field(repr=False)
    what: str


class Naming:
    """Names for what is secret in `native`, none of them said in it already. `unnamed`: ids of providers that cannot
    be without it."""

    def __init__(self, loading: Loading, native: dict[str, Any]) -> None:
        self.found: list[Named] = []
        self.unnamed: set[str] = set()
        self._loading = loading
        self._native = native
        self._taken = set(VARIABLE.findall(repr(native)))

    def name_secrets(self) -> None:
        """Changes `native`; fills `found` and `unnamed`."""
        providers = _blocks(self._native.get("providers"))
        for provider in providers:
            if self._urls(provider):
                self._keys(provider)
                self._settings(provider)
            else:
                self.unnamed.add(provider_id(provider))
        self._headers({provider_id(provider) for provider in providers})
        for client in _blocks(self._native.get("clients")):
            self._client(client)
        redis = self._native.get("redis")
        if isinstance(redis, dict) and isinstance(url := redis.get("url"), str):
            scheme, login, *rest = split_url(url.strip())
            url = "".join((scheme, self._login(login, "REDIS", "redis.url"), *rest))
            self._native["redis"] = redis | {"url": url}

    def _name(self, wanted: str, value: str, what: str) -> str:
        """`${NAME}` for a secret."""
        name, number = wanted, 1
        while name in self._taken:
            number += 1
            name = f"{wanted}_{number}"
        self._taken.add(name)
        self.found.append(Named(name, value, what))
        return f"${{{name}}}"

    def _keys(self, provider: dict[str, Any]) -> None:
        id = provider_id(provider)
        for key, name in _SECRETS.items():
            if isinstance(value := provider.get(key), str) and is_literal(value) and "${" not in value:
                provider[key] = self._name(legal_name(f"{id}_{name}"), value.strip(), f"{key} of {id}")
        entries = token_entries(provider)
        if not all(isinstance(entry, str) for entry in entries):
            return
        # Commas separate the keys of a variable, and no vendor's key has one.
        parts = [part.strip() for e in entries for part in (e.split(",") if is_literal(e) else [e])]
        literal = [part for part in parts if part and is_literal(part)]
        if literal and not any("${" in part for part in literal):
            name = self._name(key_variable(provider_id(provider)), ",".join(literal), _count(len(literal)))
            provider.pop("apiToken", None)
            provider["apiTokens"] = [name, *(part for part in parts if part and part not in literal)]

    def _client(self, client: dict[str, Any]) -> None:
        key = client.get("key")
        entries = key if isinstance(key, list) else [key]
        literal = [e for e in entries if isinstance(e, str) and is_literal(e) and not e.strip().startswith("sha256:")]
        plain = [entry.strip() for entry in literal if is_plain(entry.strip())]
        if not plain or len(plain) < len(literal) or any("${" in key for key in plain):
            return  # or there is a mistake, which is said
        hashed = [f"sha256:{hashlib.sha256(key.encode()).hexdigest()}" for key in plain if "," in key]
        single = [key for key in plain if "," not in key]  # in a variable, a comma is between two keys
        who = client.get("name")
        what = f"{_count(len(single))} of client {who}"
        named = [self._name(legal_name(f"CLIENT_{who}_KEY"), ",".join(single), what)] if single else []
        client["key"] = [*named, *hashed, *(entry for entry in entries if entry not in literal)]

    def _urls(self, provider: dict[str, Any]) -> bool:
        """Whether there is none with a key in its path; a context is left out for it, a vendor's address cannot be."""
        id, context = provider_id(provider), provider.get("context")
        given = {key: url for key in _URLS if isinstance(url := provider.get(key), str)}
        if unnamed := [key for key, url in given.items() if _keys_in_path(url)]:
            fate = f"{_IN_PATH}; the provider is left out, and what it would have taken is refused"
            self._loading.fault(provider, (unnamed[0],), fate, lost=True)
            return False
        for key, url in given.items():
            provider[key] = self._url(url, id, key)
        if isinstance(context, dict) and isinstance(url := context.get("fileUrl"), str):
            if _keys_in_path(url):
                self._loading.fault(provider, ("context", "fileUrl"), _IN_PATH, lost=True)
                provider.pop("context")
            else:
                provider["context"] = context | {"fileUrl": self._url(url, f"{id}_CONTEXT", "context.fileUrl")}
        return True

    def _url(self, url: str, owner: str, key: str) -> str:
        """A URL with names for its login and its parameters; what is behind a # is never sent, and left out."""

        def parameter(pair: str) -> str:
            name, _, value = pair.partition("=")
            if is_public(pair):
                return pair
            if not value.strip("=") or looks_like_key(name):
                return self._pieces(pair, f"{owner}_QUERY", f"the query of {key}")
            return f"{name}={self._pieces(value, f'{owner}_{name}', f'the parameter {name} of {key}')}"

        scheme, login, place, query, _ = split_url(url.strip())
        query = query[:1] + "&".join(map(parameter, query[1:].split("&")))
        return f"{scheme}{self._login(login, owner, key)}{place}{query}"

    def _login(self, login: str, owner: str, key: str) -> str:
        """`USER:PASSWORD@` with names for both: either may be a token."""
        user, colon, password = login.removesuffix("@").partition(":")
        user = self._pieces(user, f"{owner}_USER", f"the user of {key}", decode=True)
        password = self._pieces(password, f"{owner}_PASSWORD", f"the password of {key}", decode=True)
        return f"{user}{colon}{password}{login[-1:]}"

    def _pieces(self, text: str, wanted: str, what: str, *, decode: bool = False) -> str:
        """Text with names for all of it that is no `${NAME}` yet. `decode`: what a name stands for is encoded again."""

        def named(match: re.Match[str]) -> str:
            return match[1] or self._name(legal_name(wanted), unquote(match[2]) if decode else match[2], what)

        return _PIECES.sub(named, text)

    def _settings(self, provider: dict[str, Any]) -> None:
        settings = provider.get("customSettings")
        if not isinstance(settings, list):
            return
        kept = []
        for place, setting in enumerate(settings):
            if isinstance(setting, dict) and _holds_key(setting.get("value"), str(setting.get("name"))):
                self._loading.fault(provider, ("customSettings", place, "value"), UNNAMED, lost=True)
            else:
                kept.append(setting)
        if len(kept) < len(settings):
            provider["customSettings"] = kept
        if not kept:
            provider.pop("customSettings")

    def _headers(self, ids: set[str]) -> None:
        """A route without one of its conditions would take too much, so a key among them is wrong, not lost."""
        routes = _blocks(self._native.get("routes"))
        shown = ids | {str(route.get("name")) for route in routes}
        for route in routes:
            match = route.get("match")
            headers = match.get("headers") if isinstance(match, dict) else None
            ingress = match.get("ingress") if isinstance(match, dict) else None
            shown |= {str(name) for name in ingress} if isinstance(ingress, list) else set()
            for name, value in headers.items() if isinstance(headers, dict) else ():
                known = isinstance(value, str) and value.rpartition(" ")[2] in shown
                if isinstance(value, str) and not known and may_be_key(str(name), value):
                    self._loading.fault(route, ("match", "headers", name), UNNAMED)


def _blocks(value: object) -> list[dict[str, Any]]:
    return [block for block in value if isinstance(block, dict)] if isinstance(value, list) else []


def _count(keys: int) -> str:
    return "the key" if keys == 1 else f"the {keys} keys, separated by commas,"


def _holds_key(value: object, name: str) -> bool:
    """Whether a value is a key, or something in it."""
    return any(may_be_key(name, text) for name, text in _texts(value, name))


def _keys_in_path(url: str) -> list[str]:
    """Parts of a URL's path that may be keys, or a password with a / in it that ends there."""
    scheme, login, place, *_ = split_url(url.strip())
    parts = [login, *place.split("/")] if scheme == "file://" else place.split("/")[1:]
    return [part for part in parts if "@" in part or re.search(";.*=", part) or looks_like_key(unquote(part))]


def _texts(data: object, name: str = "") -> Iterator[tuple[str, str]]:
    """All texts, with the name under which each stands; a model's is none."""
    if isinstance(data, dict):
        if {"name", "value"} <= data.keys():
            yield from _texts(data["value"], str(data["name"]))
        for key, value in data.items():
            yield from _texts(value, name if name == "modelMapping" else str(key))
    elif isinstance(data, list):
        for value in data:
            yield from _texts(value, name)
    elif isinstance(data, str):
        yield name, data


def keys_by_name(data: object) -> Iterator[str]:
    """What stands in a file under the name of a key."""
    for name, text in _texts(data):
        if name not in _NO_SECRETS:
            found = (part.strip() for part in (text, *text.split(",")))
            yield from (part for part in found if stands_for_key(name, part) and is_literal(part))


def secrets(data: object) -> Iterator[str]:
    """Everything in a file that may be a key: by the name under which it stands, or by its place in a URL."""
    found = list(keys_by_name(data))
    for name, text in _texts(data):
        if "://" in text or name in _URLS:
            _, login, _, query, fragment = split_url(text.strip())
            pairs = (pair.partition("=") for pair in query[1:].split("&") if not is_public(pair))
            found += [*login[:-1].partition(":"), fragment[1:], *(value or name for name, _, value in pairs)]
            found += _keys_in_path(text)
    cut = [text[:MOST_QUOTED] for text in found]  # as a message has it
    yield from (text for f in (*found, *cut) if len(text := f.strip()) >= SHORTEST and is_literal(text))


def unhidden(data: object, keys: Set[str]) -> Iterator[Location]:
    """Where there still is what looks like a key, or one of these: the net below all the rules above."""
    if isinstance(data, dict):
        for key, value in data.items():
            for location in (*unhidden(str(key), keys), *unhidden(value, keys)):
                yield (str(key), *location)
    elif isinstance(data, list):
        for index, value in enumerate(data):
            yield from ((index, *location) for location in unhidden(value, keys))
    elif isinstance(data, str) and not _HASH.fullmatch(data) and (mask(data) != data or any(k in data for k in keys)):
        yield ()
