"""`extproc import`: a file of Higress, of LiteLLM, or one of ours, as a native configuration for people, and what
must be known of it.

Rule: what has no equivalent is left out and said; what it would have taken is refused, never left to another provider.
What is printed means what the file means, and holds no key unless that is asked for.
"""

from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.representer import RoundTripRepresenter

from extproc.config import higress, yamlfile
from extproc.config.config import ConfigError, Problem
from extproc.config.entries import targets
from extproc.config.files import Files
from extproc.config.load import Loading
from extproc.config.masking import mask, one_line
from extproc.config.wording import OWNERS, TYPES, keys_of
from extproc.config.words import did_you_mean
from extproc.imports import litellm
from extproc.imports.naming import UNNAMED, Named, Naming, keys_by_name, secrets, unhidden
from extproc.providers.vendors import refused


class _Nulls(RoundTripRepresenter):
    """Writes `null`, which people do not overlook. Of its own: a representer that is added stays with its class, and
    all that the process wrote afterwards had it."""


_Nulls.add_representer(type(None), lambda r, _: r.represent_scalar("tag:yaml.org,2002:null", "null"))


@dataclass(frozen=True, slots=True)
class Taken:
    """What a file says in native terms. `native`: as plain values, with what is secret replaced by `${NAME}`;
    `named`: these names and what they stand for. `lost`: what has no equivalent, and is not in `native`. `wrong`: why
    `native` does not load, so that it is of no use. `secrets`: everything in the file that may be one."""

    source: str
    native: Mapping[str, Any] = field(repr=False)
    named: tuple[Named, ...]
    notes: tuple[str, ...]
    lost: tuple[Problem, ...]
    wrong: tuple[Problem, ...]
    secrets: frozenset[str] = field(repr=False)


def take(path: Path, environ: Mapping[str, str], *, keep_keys: bool = False) -> Taken:
    """A file as one native configuration. `keep_keys`: what is secret stays in it. Raises `ConfigError` for a file
    that is not YAML."""
    loading = Loading(str(path), path.absolute().parent, environ, None, True, Files(), lenient=True)
    documents = yamlfile.read(path, loading.files)
    found, by_name = frozenset(secrets(documents)), frozenset(keys_by_name(documents))
    native = _litellm(loading, documents) or loading.combine(documents)
    _reduce(loading, native)
    naming = Naming(loading, native)
    if not keep_keys:
        naming.name_secrets()
        _leave_out(native, naming.unnamed)
    if loading.lost and not native.get("providers"):
        loading.problems.append(Problem(loading.file, 0, "", "nothing is left of it that could be served"))
    plain = _plain(native)
    loading.environ = {**environ, **{named.name: named.value for named in naming.found}}
    notes: tuple[str, ...] = ()
    wrong: tuple[Problem, ...] = ()
    try:
        notes = loading.finish(native).notes
    except ConfigError as error:
        wrong = error.problems
    if not wrong and not keep_keys:
        for location in unhidden(plain, by_name):
            loading.fault(native, location, f"{UNNAMED}; nothing is printed")
        wrong = tuple(loading.problems)
    lost = tuple(sorted(loading.lost, key=lambda p: p.line))
    return Taken(loading.file, plain, tuple(naming.found), notes, lost, wrong, found)


def _litellm(loading: Loading, documents: yamlfile.Seq) -> dict[str, Any] | None:
    """LiteLLM's file in native terms; None where it is none."""
    document = next((one for one in documents if litellm.is_litellm(one)), None)
    if document is None:
        return None
    found = litellm.translate(document)
    for fault in found.faults:
        loading.fault(document, fault.location, fault.message, lost=True)
    native: dict[str, Any] = {"providers": found.providers, "routes": found.routes}
    return native | ({"clients": found.clients} if found.clients else {})


def _reduce(loading: Loading, native: dict[str, Any]) -> None:
    """Takes out what has no equivalent here, and says what it was."""
    providers = native.get("providers")
    if not isinstance(providers, list):
        return
    gone: set[str] = set()
    for index, given in enumerate(providers):
        type = given.get("type") if isinstance(given, dict) else None
        if not isinstance(type, str):
            continue
        if type in higress.TYPES and type not in TYPES:
            gone.add(higress.provider_id(given))
            message = f"providers of type {type} are not supported yet; what it would have taken is refused"
            loading.fault(providers, (index, "type"), message, lost=True)
        elif unserved := refused(type, given):
            gone.add(higress.provider_id(given))
            message = f"{unserved[1]}; what it would have taken is refused"
            loading.fault(providers, (index, unserved[0]), message, lost=True)
        if type not in TYPES:
            continue
        for key in [key for key in given if key not in keys_of(type)]:
            problem = higress.key_problem(key, given[key], type, OWNERS)
            if problem is None:
                problem = f"unknown key{did_you_mean(key, keys_of(type))}"
            if problem:  # else it is switched off
                loading.fault(providers, (index, key), problem, lost=True)
            given.pop(key)
    _leave_out(native, gone)


def _leave_out(native: dict[str, Any], gone: Set[str]) -> None:
    """Takes out providers; what they would have taken is refused."""
    providers, routes = native.get("providers"), native.get("routes")
    if isinstance(providers, list):
        providers[:] = [p for p in providers if higress.provider_id(p) not in gone]
    for route in routes if isinstance(routes, list) else ():
        if isinstance(route, dict) and any(id in gone for id, _ in targets(route.get("provider"), ())):
            route["provider"] = None


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    return [_plain(entry) for entry in value] if isinstance(value, list) else value


# For people


def report(taken: Taken) -> list[str]:
    """What a user must know: what is wrong, variables to set, what was lost, what was noted. No key is in it."""
    lines: list[str] = []
    if not taken.wrong:
        lines += [f"set {named.name}: {named.what} that {taken.source} holds" for named in taken.named]
    words = [f"wrong: {problem}" for problem in taken.wrong]
    words += [f"not taken over: {problem}" for problem in taken.lost]
    words += [f"note: {note}" for note in taken.notes]
    for secret in sorted(taken.secrets, key=len, reverse=True):
        words = [line.replace(secret, "…") for line in words]
    return [one_line(mask(line)) for line in (*lines, *words)]


def as_yaml(taken: Taken) -> str:
    """The native configuration, its report as comments before it."""
    yaml = YAML()
    yaml.width = 120
    yaml.indent(mapping=2, sequence=4, offset=2)
    out = StringIO()
    for line in (one_line(f"From {taken.source}, by `extproc import`."), *report(taken)):
        out.write(f"# {line}\n")
    yaml.Representer = _Nulls
    first = ("id", "type")
    providers = [
        {k: p[k] for k in (*first, *(k for k in p if k not in first)) if k in p} for p in taken.native["providers"]
    ]
    yaml.dump({**taken.native, "providers": providers}, out)
    return out.getvalue()
