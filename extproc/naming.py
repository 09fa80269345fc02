"""Secrets of a configuration get names of environment variables, so that it can be shown.

Rule: in place, and the meaning stays: what is read under the name is what stood in the file. What can have no name is
taken out and said.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
import hashlib
import re
from typing import Any
from urllib.parse import unquote

from extproc.blocks import is_plain
from extproc.describe import is_credential
from extproc.environment import key_variable, legal_name
from extproc.higress import provider_id
from extproc.load import Loading, token_entries
from extproc.masking import SECRET_NAME, mask
from extproc.placeholders import VARIABLE, is_literal
from extproc.wording import MOST_QUOTED

_URLS = ("azureServiceUrl", "openaiCustomUrl")
_PUBLIC = ("api-version",)
"""Parameters of a URL that are no secret; any other may be one, as `extproc check` sees it."""

_URL = re.compile(r"((?:[a-z][a-z0-9+.-]*://)?)((?:[^/?#]*@)?)([^/?#]*)([^?#]*)(\??[^#]*)", re.IGNORECASE)
_PIECES = re.compile(r"(\$\{\w+\})|((?:(?!\$\{\w+\}).)+)", re.DOTALL)

_RANDOM = re.compile(r"(?=.*\d)(?=.*[a-z])(?=.*[A-Z])[\w+/=.-]{20,}", re.ASCII)

_NO_SECRETS = frozenset({"keyFile", "keyPrefix", "authHeaderKey"})
_UNNAMED = "looks like a key, which cannot come from the environment here: leave it out, or see --keep-keys"
_SHORTEST = 8
"""A shorter text is no key, and would be found in words."""


@dataclass(frozen=True, slots=True)
class Named:
    """A secret that is `what` in words, and the variable for it."""

    name: str
    value: str = field(repr=False)
    what: str


class Naming:
    """Names for what is secret in `native`, none of them said in it already."""

    def __init__(self, loading: Loading, native: dict[str, Any]) -> None:
        self.found: list[Named] = []
        self._loading = loading
        self._native = native
        self._taken = set(VARIABLE.findall(repr(native)))

    def name_secrets(self) -> None:
        """Changes `native`; fills `found`."""
        providers = _blocks(self._native.get("providers"))
        for provider in providers:
            self._keys(provider)
            self._urls(provider)
            self._settings(provider)
        self._headers({provider_id(provider) for provider in providers})
        for client in _blocks(self._native.get("clients")):
            self._client(client)
        redis = self._native.get("redis")
        if isinstance(redis, dict) and isinstance(url := redis.get("url"), str):
            self._native["redis"] = redis | {"url": self._login(url, "REDIS", "redis.url", unquote)}

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

    def _urls(self, provider: dict[str, Any]) -> None:
        id = provider_id(provider)
        for key in _URLS:
            if isinstance(url := provider.get(key), str):
                provider[key] = self._url(url, id, key)
        context = provider.get("context")
        if isinstance(context, dict) and isinstance(url := context.get("fileUrl"), str):
            provider["context"] = context | {"fileUrl": self._url(url, f"{id}_CONTEXT", "context.fileUrl")}

    def _url(self, url: str, owner: str, key: str) -> str:
        """A URL with names for its password, its parameters and what looks like a key in its path; what is behind a #
        is never sent, and left out."""
        found = _URL.match(self._login(url, owner, key, str))
        if found is None:
            return url
        scheme, login, host, path, query = found.groups()

        def segment(text: str) -> str:
            may_be_key = mask(text) != text or "@" in text  # a password with a / in it ends here
            return self._pieces(text, f"{owner}_PATH", f"the key in {key}") if may_be_key else text

        def parameter(pair: str) -> str:
            name, is_, value = pair.partition("=")
            if name in _PUBLIC or not pair:
                return pair
            if not is_:
                return self._pieces(pair, f"{owner}_QUERY", f"the query of {key}")
            return f"{name}={self._pieces(value, f'{owner}_{name}', f'the parameter {name} of {key}')}"

        path = "/".join(map(segment, path.split("/")))
        query = query[:1] + "&".join(map(parameter, query[1:].split("&")))
        return f"{scheme}{login}{host}{path}{query}"

    def _login(self, url: str, owner: str, key: str, decode: Callable[[str], str]) -> str:
        """A URL with a name for its password; `decode`: makes the variable's value of what a URL has."""
        url = url.strip()
        found = _URL.match(url)
        if found is None or not found[2]:
            return url
        user, colon, password = found[2][:-1].rpartition(":")
        name = self._pieces(password, f"{owner}_PASSWORD", f"the password of {key}", decode)
        return f"{url[: found.start(2)]}{user}{colon}{name}{url[found.end(2) - 1 :]}"

    def _pieces(self, text: str, wanted: str, what: str, decode: Callable[[str], str] = str) -> str:
        """Text with names for all of it that is no `${NAME}` yet."""
        return _PIECES.sub(lambda m: m[1] or self._name(legal_name(wanted), decode(m[2]), what), text)

    def _settings(self, provider: dict[str, Any]) -> None:
        settings = provider.get("customSettings")
        if not isinstance(settings, list):
            return
        kept = []
        for place, setting in enumerate(settings):
            if isinstance(setting, dict) and _may_be_key(setting.get("value"), str(setting.get("name"))):
                self._loading.fault(provider, ("customSettings", place, "value"), _UNNAMED, lost=True)
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
                if isinstance(value, str) and is_credential(str(name), value, shown):
                    self._loading.fault(route, ("match", "headers", name), _UNNAMED)


def _blocks(value: object) -> list[dict[str, Any]]:
    return [block for block in value if isinstance(block, dict)] if isinstance(value, list) else []


def _count(keys: int) -> str:
    return "the key" if keys == 1 else f"the {keys} keys, separated by commas,"


def _may_be_key(value: object, name: str) -> bool:
    """Whether text is a key: by its name, its look, or that of something in it."""
    if isinstance(value, dict):
        return any(_may_be_key(entry, str(key)) for key, entry in value.items())
    if isinstance(value, list):
        return any(_may_be_key(entry, name) for entry in value)
    if not isinstance(value, str):
        return False
    return bool(SECRET_NAME.search(name) or _RANDOM.fullmatch(value)) or mask(value) != value


def secrets(data: object, name: str = "") -> Iterator[str]:
    """Everything in a file that may be a key: by the name under which it stands, or by its place in a URL."""
    if isinstance(data, dict):
        for key, value in data.items():
            yield from secrets(value, str(key))
    elif isinstance(data, list):
        for value in data:
            yield from secrets(value, name)
    elif isinstance(data, str):
        found = [data, *data.split(",")] if name not in _NO_SECRETS and SECRET_NAME.search(name) else []
        if "://" in data and (url := _URL.match(data)):
            found += [url[2].rpartition(":")[2].removesuffix("@")]
            pairs = (pair.partition("=") for pair in url[5][1:].split("&"))
            found += [value or name for name, _, value in pairs if name not in _PUBLIC]
        cut = [text[:MOST_QUOTED] for text in found]  # as a message has it
        yield from (text for f in (*found, *cut) if len(text := f.strip()) >= _SHORTEST and is_literal(text))
