"""From a file or the environment to a `Config`.

Rule: files are read through `Files` only, so that whoever watches or repeats a load knows all of them. Everything wrong
is gathered and said at once, in our own words, with file, line and key; no message holds a secret. YAML mappings keep
the lines they were written on (`Map`) through every change made before validation.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
import re
from typing import Any

from pydantic import ValidationError

from extproc.config import environment, higress, yamlfile
from extproc.config.advice import advice
from extproc.config.clients import KeyHash
from extproc.config.config import Config, ConfigError, Problem
from extproc.config.entries import as_written, targets, token_entries
from extproc.config.files import Files
from extproc.config.higress import Location
from extproc.config.masking import mask
from extproc.config.mismatches import mismatches
from extproc.config.placeholders import NOT_READ, Placeholders
from extproc.config.quota_faults import quota_faults
from extproc.config.quotas import STORES
from extproc.config.wording import (
    OWNERS,
    TOKEN_KEYS,
    TYPES,
    block_at,
    is_inner,
    keys,
    keys_of,
    kind_of,
    may_be_secret,
    worded,
)
from extproc.config.words import did_you_mean
from extproc.config.yamlfile import Map, Seq, locate, value_at
from extproc.providers.vendors import refused

__all__ = ["ConfigError", "Loaded", "Problem", "StandIn", "load"]


@dataclass(frozen=True, slots=True)
class StandIn:
    """The simulated vendors that take the place of those without a key: where they listen, and the key they take."""

    url: str
    key: str


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration, what is worth knowing about it, and where it comes from: the file's name or `environment`.

    `files`: what it was made of, by absolute path; secrets are among it.
    """

    config: Config
    notes: tuple[str, ...]
    source: str
    files: Mapping[str, bytes] = field(default_factory=dict, repr=False)


def load(
    path: Path | None,
    environ: Mapping[str, str],
    *,
    stand_in: StandIn | None = None,
    keyless: bool = False,
    files: Files | None = None,
) -> Loaded:
    """The configuration of a file (native, Higress plugin or `WasmPlugin` documents), or without one of `environ`.

    `environ` also resolves `${NAME}` keys and, for `WasmPlugin` documents, `DEFAULT_AI_SERVICE`. Files that the
    configuration names are relative to it. `keyless`: keys that cannot be read here are not missed, for those who
    need none (Envoy's side). `files`: what reads, and afterwards tells which files were asked for, also when the load
    failed. Raises `ConfigError` with everything that is wrong.
    """
    files = files or Files()
    if path is None:
        native, notes = environment.native(environ, stand_in=stand_in is not None)
        return Loading(environment.SOURCE, Path(), environ, stand_in, keyless, files, notes=list(notes)).finish(native)
    loading = Loading(str(path), path.absolute().parent, environ, stand_in, keyless, files)
    return loading.finish(loading.combine(yamlfile.read(path, files)))


# Native documents to a Config


_UNREAD = KeyHash.of(NOT_READ)

_ODD_KEY = re.compile(r"(?<=\w)[^\w.\[\]][^.]*$")


@dataclass
class Loading:
    """One load. `lenient`: a rule that names no provider is `lost`, not wrong."""

    file: str
    base: Path
    environ: Mapping[str, str]
    stand_in: StandIn | None
    keyless: bool
    files: Files
    lenient: bool = False
    notes: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    lost: list[Problem] = field(default_factory=list)

    def fault(self, data: object, location: Location, message: str, *, lost: bool = False) -> None:
        """Something is wrong, or `lost`, at a place in data made from the file."""
        line, key = locate(data, location)
        if message.startswith("unknown key"):
            key = _ODD_KEY.sub("…", key)
            if "did you mean" not in message and value_at(data, location) is None:  # `{apiToken: KEY, KEY}` has one
                key = key.removesuffix(str(location[-1])) + "…"
        problem = Problem(self.file, line, key, message)
        problems = self.lost if lost else self.problems
        if problem not in problems:
            problems.append(problem)

    def _note(self, document: Map, text: str) -> None:
        self.notes.append(f"{self.file}:{document.line}: {text}")

    # Several documents to one

    def combine(self, documents: Seq) -> dict[str, Any]:
        """One native configuration from all documents of the file."""
        natives: list[Map] = []
        plugins: list[Map] = []
        for document, line in self._flat(documents):
            if not isinstance(document, Map):
                message = f"a document must be a mapping with {', '.join(keys(Config))}; found {kind_of(document)}"
                self.problems.append(Problem(self.file, line, "", message))
            elif "kind" not in document:
                natives.append(document)
            elif document["kind"] != "WasmPlugin":
                self._note(document, f"a document of kind {document['kind']}, skipped")
            elif higress.is_ai_proxy(document):
                plugins.append(document)
            else:
                metadata = document.get("metadata")
                name = metadata.get("name") if isinstance(metadata, dict) else None
                self._note(document, f"WasmPlugin {name or 'without a name'} is not ai-proxy, skipped")
        if not natives and not plugins and not self.problems:
            allowed = f"{', '.join(keys(Config))}, or a Higress WasmPlugin of ai-proxy"
            self.problems.append(Problem(self.file, 0, "", f"there is no configuration in it; allowed: {allowed}"))

        translation = higress.translate(plugins, self.environ.get(environment.DEFAULT, "").strip())
        self.notes += translation.notes
        for fault in translation.faults:
            self.fault(plugins, fault.location, fault.message)
        for fault in translation.stale:
            fate = "; left out, and what it would have taken is refused" if self.lenient else ""
            self.fault(plugins, fault.location, f"{fault.message}{fate}", lost=self.lenient)
        merged = Map("", natives[0].line if natives else plugins[0].line if plugins else 0)
        defaults: list[str] = []
        for document in natives:
            native, default = self._native(document, alone=len(natives) == 1 and not plugins)
            defaults += [default] if default else []
            merged = self._merge(merged, native)
        if plugins:
            merged = self._merge(merged, {"providers": translation.providers, "routes": translation.routes})
        for default in defaults + translation.defaults:
            if isinstance(routes := merged.setdefault("routes", []), list):
                name = higress.unique("default", (str(r.get("name")) for r in routes if isinstance(r, dict)))
                merged["routes"] = [*routes, {"name": name, "match": {}, "provider": default}]
        return merged

    def _flat(self, documents: Seq) -> Iterator[tuple[Any, int]]:
        for document, line in zip(documents, documents.lines, strict=True):
            items = document.get("items") if isinstance(document, Map) and document.get("kind") == "List" else None
            if isinstance(items, Seq):
                yield from self._flat(items)
            elif document is not None:
                yield document, line

    def _native(self, document: Map, *, alone: bool) -> tuple[Map, str | None]:
        """A native document in plain form, and the provider that its short forms let take everything."""
        plain = document | {}
        if {"provider", "activeProviderId"}.isdisjoint(plain):
            providers = plain.get("providers")
            if alone or plain.get("routes") or not isinstance(providers, list) or not providers:
                return plain, None
            if len(providers) > 1:
                message = "there are several providers, so routes must say which takes what"
                self.fault(document, ("providers",), message)
            return plain, higress.provider_id(providers[0])
        active, others, faults = higress.active_provider(document, ())
        if plain.get("provider") is None:
            faults += higress.same_ids(plain.get("providers"), ("providers",))
        for fault in faults:
            self.fault(document, fault.location, fault.message)
        if "provider" in plain and plain.get("providers"):
            self.notes.append("providers: left out, since provider wins, as in Higress")
        self.notes += [f"provider {id}: listed, but not active, so it is left out" for id in others]
        if plain.get("routes"):
            key = "provider" if "provider" in plain else "activeProviderId"
            message = "takes everything, so there can be no routes beside it; use providers and routes"
            self.fault(document, (key,), message)
        for key in ("provider", "providers", "activeProviderId"):
            plain.pop(key, None)
        plain["providers"] = [] if active is None else [active]
        return plain, None if alone or active is None else higress.provider_id(active)

    def _merge(self, merged: Map, other: dict[str, Any]) -> Map:
        for key in [key for key in other if key in merged]:
            ours, theirs = merged[key], other[key]
            if isinstance(ours, list) and isinstance(theirs, list):
                other = other | {key: [*ours, *theirs]}
            elif isinstance(ours, list) or isinstance(theirs, list):
                self.fault(merged if isinstance(theirs, list) else other, (key,), "must be a list")
                return merged
            else:
                self.fault(other, (key,), "said in two documents of the file; say it once")
        return merged | other

    # One native configuration to a Config

    def finish(self, native: dict[str, Any]) -> Loaded:
        """Validates; raises `ConfigError`."""
        if isinstance(native.get("providers"), list):
            providers = native["providers"]
            providers[:] = [self._provider(providers, index) for index in range(len(providers))]
        usage = native.get("usage")
        if isinstance(usage, dict) and isinstance(store := usage.get("store"), str) and store and store not in STORES:
            native["usage"] = usage | {"store": str(self.base / store)}
        self._references(native)
        self._client_references(native)
        config: Config | None = None
        read = Placeholders(self.base, self.environ, self.files, self.keyless)
        context = {"resolve": read.resolve, "whole": read.whole, "expand": read.expand, "fill": read.fill}
        try:
            config = Config.model_validate(native, context=context)
        except ValidationError as error:
            for detail in error.errors(include_url=False):
                self._explain(native, detail)
        if config is not None:
            self._same_keys(config, native)
            for location, message in mismatches(config):
                self._mismatch(native, location, message)
            for place, message in quota_faults(config):
                self.fault(native, place, message)
            if config.redis is not None and not self.keyless and find_spec("redis") is None:
                self.fault(native, ("redis",), "needs a package that is missing: pip install 'ai-proxy-envoy[redis]'")
            if config.telemetry.otlp and not self.keyless and not _has_otlp():
                message = "needs packages that are missing: pip install 'ai-proxy-envoy[otel]'"
                self.fault(native, ("telemetry", "otlp"), message)
            for index, provider in enumerate(config.providers):
                if (needs := provider.needs_package) is not None and not self.keyless and find_spec(needs[0]) is None:
                    message = f"type {provider.type} needs a package that is missing: pip install {needs[1]!r}"
                    self.fault(native, ("providers", index, "type"), message)
        if config is None or self.problems:
            raise ConfigError(sorted(self.problems, key=lambda p: p.line)) from None
        notes = tuple(dict.fromkeys(map(mask, [*self.notes, *advice(config)])))
        return Loaded(config, notes, self.file, self.files.found)

    def _provider(self, providers: list[Any], index: int) -> Any:
        """A provider block without what is switched off, its files absolute, the stand-in in place of missing keys."""
        given = providers[index]
        type = given.get("type") if isinstance(given, dict) else None
        if not isinstance(given, dict) or not isinstance(type, str) or type not in TYPES:
            return given
        block = given | {}
        for key in [k for k in given if k not in keys_of(type)]:
            message = higress.key_problem(key, given[key], type, OWNERS)
            if message:
                self.fault(providers, (index, key), message)
            if message is not None:
                del block[key]
        if unserved := refused(type, block):
            self.fault(providers, (index, unserved[0]), unserved[1])
            del block[unserved[0]]
        tls, context = block.get("tls"), block.get("context")
        if isinstance(tls, dict) and isinstance(tls.get("caFile"), str):
            path = self.base / tls["caFile"]
            if not self.files.exists(path):
                self.fault(providers, (index, "tls", "caFile"), f"there is no file {path}")
            block["tls"] = tls | {"caFile": str(path)}
        if isinstance(context, dict) and isinstance(context.get("fileUrl"), str):
            scheme, _, rest = context["fileUrl"].partition(":")
            rest = rest.removeprefix("//").removeprefix("localhost/" if rest.startswith("//localhost/") else "")
            if scheme == "file" and rest and not rest.startswith("/"):
                block["context"] = context | {"fileUrl": f"file://{self.base / rest}"}
        return self._with_stand_in(block)

    def _with_stand_in(self, block: dict[str, Any]) -> dict[str, Any]:
        own_server = block.get("type") == "openai" and (block.get("openaiCustomUrl") or block.get("endpoint"))
        if self.stand_in is None or (own_server and not any(block.get(key) for key in TOKEN_KEYS)):
            return block
        entries = token_entries(block)
        read = Placeholders(self.base, self.environ, self.files, self.keyless)
        if not all(isinstance(entry, str) and read.absent(entry) for entry in entries):
            return block
        self.notes.append(f"provider {higress.provider_id(block)}: no key, the simulated vendor stands in")
        block = block | {"apiTokens": [self.stand_in.key], "endpoint": block.get("endpoint") or self.stand_in.url}
        block.pop("apiToken", None)
        return block

    def _references(self, native: Mapping[str, Any]) -> None:
        """The checks between blocks that `Config` makes too, here with the line of the block that is wrong."""
        providers, routes = native.get("providers"), native.get("routes")
        ids: list[str] = []
        if not isinstance(providers, list):
            return
        for index, provider in enumerate(providers):
            if isinstance(provider, dict):
                id = higress.provider_id(provider)
                if id and id in ids:
                    where = ("providers", index, "id" if "id" in getattr(provider, "lines", provider) else "type")
                    self.fault(native, where, f"two providers have the id {id!r}: give each an id of its own")
                ids.append(id)
        names: set[object] = set()
        for index, route in enumerate(routes if isinstance(routes, list) else ()):
            if not isinstance(route, dict):
                continue
            name, target = route.get("name"), route.get("provider")
            if isinstance(name, str) and name in names:
                self.fault(native, ("routes", index, "name"), f"two routes have the name {name!r}")
            names.add(name if isinstance(name, str) else None)
            for id, place in targets(target, ("routes", index, "provider")):
                if id not in ids:
                    known = ", ".join(filter(None, ids))
                    message = f"there is no provider {id!r}{did_you_mean(id, ids)}; there are: {known}"
                    self.fault(native, place, message)

    def _client_references(self, native: Mapping[str, Any]) -> None:
        """The same between clients and routes."""
        routes, clients = native.get("routes"), native.get("clients")
        routes = routes if isinstance(routes, list) and routes else [{"name": "default"}]
        known = [str(route.get("name")) for route in routes if isinstance(route, dict)]
        names: set[object] = set()
        for index, client in enumerate(clients if isinstance(clients, list) else ()):
            if not isinstance(client, dict):
                continue
            name, wanted = client.get("name"), client.get("routes")
            if isinstance(name, str) and name in names:
                self.fault(native, ("clients", index, "name"), f"two clients have the name {name!r}")
            names.add(name if isinstance(name, str) else None)
            for place, route in enumerate(wanted if isinstance(wanted, list) else ()):
                if isinstance(route, str) and route not in known:
                    message = f"there is no route {route!r}{did_you_mean(route, known)}; there are: {', '.join(known)}"
                    self.fault(native, ("clients", index, "routes", place), message)

    def _same_keys(self, config: Config, native: Mapping[str, Any]) -> None:
        """Whose request would it be?"""
        owners: dict[KeyHash, str] = {}
        for index, client in enumerate(config.clients):
            for other in dict.fromkeys(owners[key] for key in client.keys if key in owners and key != _UNREAD):
                where = ("clients", index, "key" if client.key else "keyFile")
                self.fault(native, where, f"client {other!r} has the same key")
            owners |= dict.fromkeys(client.keys, client.name)

    def _mismatch(self, native: Mapping[str, Any], location: Location, message: str) -> None:
        block = native["providers"][location[1]]
        if self.file == environment.SOURCE:
            variable = environment.variable(str(block["id"]), str(location[2]))
            self.problems.append(Problem(self.file, 0, variable, message))
            return
        written = next((key for key in TOKEN_KEYS if key in block), location[2]) if location[2] == "apiTokens" else None
        self.fault(
            native, (*location[:2], written or location[2]), f"{message} (provider {higress.provider_id(block)})"
        )

    def _explain(self, native: Mapping[str, Any], detail: Mapping[str, Any]) -> None:
        """One of pydantic's findings in our own words."""
        tagged: Location = detail["loc"]
        location = tagged
        if len(tagged) > 2 and tagged[0] == "providers" and tagged[2] in TYPES:
            location = (*tagged[:2], *tagged[3:])
        elif len(tagged) > 4 and tagged[0] == "routes" and tagged[2] == "provider":
            location = as_written(native, tagged)
        written = tuple(step for step in location if not is_inner(step))
        of_several, location = written != location, written
        kind, value = detail["type"], detail["input"]
        if kind == "too_short" and value:
            return  # its entries are wrong, and that is said already
        if not location and self.problems:
            return  # said with a line by `_references`, or a consequence
        location = location or ("providers",)
        if kind in ("missing", "too_short") and location == ("providers",) and self.problems:
            return  # likewise
        last = str(location[-1]) if location else ""
        message = worded(detail, last, block_at(tagged[:-1]), secret=may_be_secret(location))
        if kind == "value_error" and message.startswith("apiTokens is missing"):
            message = message.removeprefix("apiTokens is ")
            location = (*location, "apiTokens")
        if self.file == environment.SOURCE and len(location) == 3:
            service = str(native["providers"][location[1]]["id"])
            variable = environment.variable(service, str(location[2]))
            self.problems.append(Problem(self.file, 0, variable, message))
        elif not (of_several and self._said(native, location, message)):
            self.fault(native, location, message)

    def _said(self, data: object, location: Location, message: str) -> bool:
        """Whether a value that may be several things was faulted already; there it is said what else it may be."""
        for index, said in enumerate(self.problems):
            if (said.line, said.key) == locate(data, location):
                other = message.rpartition("; ")[2].removeprefix("wanted ")
                self.problems[index] = replace(said, message=f"{said.message}, or {other}")
                return True
        return False


def _has_otlp() -> bool:
    """Whether OpenTelemetry's exporters are installed; a parent that is not there is an error of `find_spec`'s."""
    try:
        return all(find_spec(f"opentelemetry.exporter.otlp.proto.{kind}") is not None for kind in ("http", "grpc"))
    except ModuleNotFoundError:
        return False
