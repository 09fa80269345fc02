"""What stands in a configuration for a secret: `${NAME}` for the environment, `file:PATH` for a file.

Rule: reads through `Files` only; a message names the place, never what was found there.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
import re
from urllib.parse import quote

from extproc.config.files import Files
from extproc.config.yamlfile import reason
from extproc.providers.blocks import is_plain

NOT_READ = "not-read-here"
"""The token of whoever needs none."""

VARIABLE = re.compile(r"\$\{(\w+)\}")

_MEANT = re.compile(
    r"\$(?P<shell>[A-Za-z_]\w*)|os\.environ/(?P<litellm>\w+)|os\.environ\[\W*(?P<python>\w+)\W*\]"
    r"|(?:env|ENV)[:.](?://)?(?P<env>\w+)|%(?P<windows>\w+)%|\{\{\s*(?:env\.)?(?P<template>\w+)\s*\}\}"
    r"|\$\{env[:.](?P<collector>\w+)\}|\$\((?P<kubernetes>\w+)\)"
)
"""How others write a variable of the environment, LiteLLM, shells and Kubernetes among them."""
_NAME = re.compile(r"[A-Z][A-Z0-9_]*")

_FILE = "file:"
_URL = re.compile(r"((?:[a-z][a-z0-9+.-]*://)?)((?:[^/?#]*@)?)([^?#]*)([^#]*)(.*)", re.IGNORECASE | re.DOTALL)


def is_literal(entry: str) -> bool:
    """Whether an entry of `apiTokens` is a key itself."""
    return not VARIABLE.fullmatch(entry.strip()) and not entry.strip().startswith(_FILE)


def split_url(url: str) -> tuple[str, str, str, str, str]:
    """Scheme, login, host and path, query, fragment (RFC 3986, 3), each with the signs that tell it from the others;
    all together are the URL. The scheme may be absent, and nothing is decoded."""
    found = _URL.fullmatch(url)
    assert found is not None, "every part may be empty"
    scheme, login, place, query, fragment = found.groups()
    return scheme, login, place, query, fragment


@dataclass(frozen=True, slots=True)
class Placeholders:
    """`keyless`: what cannot be read here is not missed, for those who need no secret (Envoy's side)."""

    base: Path
    environ: Mapping[str, str]
    files: Files
    keyless: bool

    def absent(self, entry: str) -> bool:
        """Whether an entry of `apiTokens` is empty, or its variable is."""
        match = VARIABLE.fullmatch(entry.strip())
        return not _split(self.environ.get(match[1], ""), ",") if match else not entry.strip()

    def resolve(self, entry: str) -> list[str]:
        """The tokens of one entry. Raises `ValueError`, which never quotes the entry unless it names a place."""
        return self._read(entry, split=True)

    def whole(self, entry: str) -> list[str]:
        """The one secret of an entry, which may have commas and lines. Raises `ValueError` like `resolve`."""
        return self._read(entry, split=False)

    def _read(self, entry: str, *, split: bool) -> list[str]:
        entry = entry.strip()
        if split and (meant := _MEANT.fullmatch(entry)):
            name = meant[meant.lastgroup or 0]
            shown = name if _NAME.fullmatch(name) else "NAME"  # it might be a key after all
            raise ValueError(f"a variable of the environment is written ${{{shown}}}")
        if "${" in entry and not VARIABLE.fullmatch(entry):
            raise ValueError("${NAME} must be a whole entry, with a NAME of letters, digits and _")
        try:
            return self._tokens(entry, split=split)
        except ValueError:
            if self.keyless:
                return [NOT_READ]
            raise

    def expand(self, url: str) -> str:
        """A Redis URL with its `${NAME}`s replaced; in its user and password, characters that a URL cannot have there
        are taken care of. Raises `ValueError`, which quotes nothing."""
        login = range(url.rfind("@") + 1)

        def value(match: re.Match[str]) -> str:
            found = self._variable(match[1])
            if not found:
                return "redis://not-read-here" if match[0] == url else "0"
            return quote(found, safe="") if match.start() in login else found

        return VARIABLE.sub(value, url)

    def fill(self, url: str) -> str:
        """An http URL with its `${NAME}`s replaced: in its login by any text, in its query by text as a URL has it.
        Whatever else there is Envoy needs where secrets are not, or it is shown. Raises `ValueError`, which quotes
        nothing."""
        scheme, login, place, query, fragment = split_url(url)
        if any("${" in part for part in (scheme, place, fragment)):
            raise ValueError("${NAME} may stand in the query, or as USER or PASSWORD before the host, and nowhere else")

        def literal(match: re.Match[str]) -> str:
            value = self._variable(match[1]) or "0"
            if not is_plain(value) or "#" in value:
                message = "has #, white space or what is not ASCII, which a query has as %XX only"
                raise ValueError(f"the environment variable {match[1]} {message}")
            return value

        login = VARIABLE.sub(lambda match: quote(self._variable(match[1]) or "0", safe=""), login)
        return f"{scheme}{login}{place}{VARIABLE.sub(literal, query)}{fragment}"

    def _variable(self, name: str) -> str:
        """What it holds; empty, where it is not missed. Raises `ValueError`."""
        found = self.environ.get(name, "").strip()
        if not found and not self.keyless:
            raise ValueError(self._missing(name))
        return found

    def _missing(self, name: str) -> str:
        return f"the environment variable {name} is {'empty' if name in self.environ else 'not set'}"

    def _tokens(self, entry: str, *, split: bool) -> list[str]:
        if match := VARIABLE.fullmatch(entry):
            if tokens := _split(self.environ.get(match[1], ""), "," if split else None):
                return tokens
            raise ValueError(self._missing(match[1]))
        if not entry.startswith(_FILE):
            return [entry]
        path = self.base / entry.removeprefix(_FILE).removeprefix("//").strip()
        try:
            tokens = _split(self.files.read(path).decode("utf-8-sig"), "\n" if split else None)
        except OSError as error:
            raise ValueError(f"the secret file {path} cannot be read: {reason(error)}") from None
        except UnicodeDecodeError:
            raise ValueError(f"the secret file {path} cannot be read: it is not UTF-8 text") from None
        if not tokens:
            raise ValueError(f"the secret file {path} is empty")
        return tokens


def _split(text: str, separator: str | None) -> list[str]:
    return [part.strip() for part in (text.split(separator) if separator else [text]) if part.strip()]
