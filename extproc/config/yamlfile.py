"""YAML with the line of everything: mappings and lists remember where they stood, dates and keys stay text.

Rule: reads one file, knows nothing of what it means.
"""

from collections.abc import Mapping
from pathlib import Path
import re
from typing import Any, Self
import warnings

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, ReusedAnchorWarning, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from extproc.config.config import ConfigError, Problem
from extproc.config.files import Files
from extproc.config.higress import Location
from extproc.config.masking import is_secret


class Map(dict[str, Any]):
    """A YAML mapping: its line, the line of each key, and the path of keys that leads to it."""

    def __init__(self, path: str, line: int) -> None:
        super().__init__()
        self.path = path
        self.line = line
        self.lines: dict[str, int] = {}

    def __or__(self, other: Mapping[str, Any]) -> Self:  # type: ignore[override]
        joined = type(self)(self.path, self.line)
        joined.update(self)
        joined.update(other)
        joined.lines = self.lines | other.lines if isinstance(other, Map) else dict(self.lines)
        return joined


class Seq(list[Any]):
    """A YAML list: its line, the line of each entry, and the path of keys that leads to it."""

    def __init__(self, path: str, line: int) -> None:
        super().__init__()
        self.path = path
        self.line = line
        self.lines: list[int] = []


def _step(path: str, step: str | int) -> str:
    if isinstance(step, int):
        return f"{path}[{step}]"
    return f"{path}.{step}" if path else step


def locate(data: object, location: Location) -> tuple[int, str]:
    """Line and path of keys, as they stand in the file, of what `location` leads to in data made from it."""
    line, path = getattr(data, "line", 0), getattr(data, "path", "")
    for step in location:
        path = _step(path, step)
        inside: object = None
        if isinstance(data, dict):
            inside = data.get(step)
        elif isinstance(data, list) and isinstance(step, int) and step < len(data):
            inside = data[step]
        if isinstance(data, Map):
            line = data.lines.get(str(step), data.line)
        elif isinstance(data, Seq) and isinstance(step, int) and step < len(data.lines):
            line = data.lines[step]
        elif isinstance(inside, (Map, Seq)):  # moved to where it is now
            line, path = inside.line, inside.path
        data = inside
    return line, path


def value_at(data: object, location: Location) -> object:
    """What `location` leads to; None where there is nothing."""
    for step in location:
        inside = data.get(str(step)) if isinstance(data, Mapping) else None
        data = data[step] if isinstance(data, list) and isinstance(step, int) and step < len(data) else inside
    return data


def _without_names(message: str) -> str:
    """A complaint of the parser without the aliases and tags that it quotes, since a key that begins with `*`, `&` or
    `!` is one; characters and its own words (`<stream end>`) stay."""

    def one(quoted: re.Match[str]) -> str:
        return quoted[0] if len(quoted[2]) < 2 or quoted[2].startswith("<") else f"{quoted[1]}…{quoted[1]}"

    return re.sub(r"""(['"])(.*?)\1""", one, message)


_TAG = "tag:yaml.org,2002:"
_MERGE = f"{_TAG}merge"


class _Documents:
    """The documents of one YAML text. Dates stay text, and so does every key."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.problems: list[Problem] = []
        self._open: set[int] = set()

    def read(self, text: str) -> Seq:
        documents = Seq("", 1)
        try:
            with warnings.catch_warnings(action="ignore", category=ReusedAnchorWarning):
                for node in YAML(typ="safe", pure=True).compose_all(text):
                    documents.append(self._value(node, ""))
                    documents.lines.append(node.start_mark.line + 1)
        except MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            message = _without_names(" ".join(filter(None, (error.context, error.problem))))
            self._problem(mark.line + 1 if mark else 0, "", f"not YAML: {message}")
        except YAMLError as error:
            self._problem(0, "", f"not YAML: {type(error).__name__}")
        return documents

    def _problem(self, line: int, path: str, message: str) -> None:
        self.problems.append(Problem(self.file, line, path, message))

    def _value(self, node: Node, path: str) -> Any:
        line = node.start_mark.line + 1
        if isinstance(node, ScalarNode):
            return self._scalar(node, path)
        if id(node) in self._open:
            self._problem(line, path, "an alias that contains itself")
            return None
        self._open.add(id(node))
        try:
            if isinstance(node, SequenceNode):
                seq = Seq(path, line)
                for index, item in enumerate(node.value):
                    seq.append(self._value(item, _step(path, index)))
                    seq.lines.append(item.start_mark.line + 1)
                return seq
            return self._mapping(node, path) if isinstance(node, MappingNode) else None
        finally:
            self._open.discard(id(node))

    def _mapping(self, node: MappingNode, path: str) -> Map:
        result = Map(path, node.start_mark.line + 1)
        merged: list[Map] = []
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, ScalarNode):
                self._problem(line, path, "a key must be text")
                continue
            key = str(key_node.value)
            value = self._value(value_node, path if str(key_node.tag) == _MERGE else _step(path, key))
            if str(key_node.tag) == _MERGE:
                sources = value if isinstance(value, Seq) else [value]
                merged += [source for source in sources if isinstance(source, Map)]
                if not all(isinstance(source, Map) for source in sources):
                    self._problem(line, path, "<< takes a mapping or a list of mappings")
            elif key in result:
                shown = "…" if value is None else key  # `{apiToken: KEY, KEY}` has a key without a value
                self._problem(line, _step(path, shown), f"said twice; it is already on line {result.lines[key]}")
            else:
                result[key] = value
                result.lines[key] = line
        for source in merged:
            for key, value in source.items():
                if key not in result:
                    result[key] = value
                    result.lines[key] = source.lines[key]
        return result

    def _scalar(self, node: ScalarNode, path: str) -> Any:
        kind = str(node.tag).removeprefix(_TAG)
        if kind in ("str", "timestamp", "value"):
            return str(node.value)
        plain = str(node.value).lower().replace("_", "")
        try:
            match kind:
                case "null":
                    return None
                case "bool":
                    return ("false", "true").index(plain) == 1
                case "int":  # 010 is ten: octal is 0o10 in YAML 1.2
                    return int(plain, 0) if re.match(r"[-+]?0[xob]", plain) else int(plain)
                case "float":
                    return float(plain.replace(".inf", "inf").replace(".nan", "nan"))
        except ValueError:
            pass
        tag = "this YAML tag" if is_secret(path) else f"the YAML tag {node.tag}"
        self._problem(node.start_mark.line + 1, path, f"{tag} is not known here")
        return None


def read(path: Path, files: Files) -> Seq:
    """The documents of a file. Raises `ConfigError` with everything that is not YAML."""
    file = str(path)
    try:
        text = files.read(path).decode("utf-8-sig")
    except OSError as error:
        raise ConfigError([Problem(file, 0, "", f"cannot be read: {reason(error)}")]) from None
    except UnicodeDecodeError:
        raise ConfigError([Problem(file, 0, "", "cannot be read: it is not UTF-8 text")]) from None
    documents = _Documents(file)
    result = documents.read(text)
    if documents.problems:
        raise ConfigError(documents.problems)
    return result


def reason(error: OSError) -> str:
    """Why a file cannot be read, in a few words."""
    return (error.strerror or type(error).__name__).lower()
