"""YAML with the line of everything: mappings and lists remember where they stood, dates and keys stay text.

Rule: reads one file, knows nothing of what it means. A few lines of aliases can stand for more than any machine holds,
so what a document comes to is added up while its nodes are read, and judged before any value is built.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
import re
from typing import Any, Final, Self

import yaml

from extproc.config.config import ConfigError, Problem
from extproc.config.files import Files
from extproc.config.higress import Location
from extproc.config.masking import is_secret

MOST_WEIGHT: Final = 8 << 20
"""What the values of a file may come to, aliases followed: each its text and `_VALUE`. A provider with a route is about
2,000."""
_VALUE: Final = 64
_DEEPEST: Final = 64
"""Lists and mappings within each other."""


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


_TAG: Final = "tag:yaml.org,2002:"
_MERGE: Final = f"{_TAG}merge"
_WRONG: Final = "wrong"
"""In place of a tag: the value says what is."""

_PLAIN: Final = tuple(
    (f"{_TAG}{kind}", re.compile(pattern))
    for kind, pattern in (
        ("null", r"~|null|Null|NULL|"),
        ("bool", r"true|True|TRUE|false|False|FALSE"),
        ("int", r"[-+]?(0b[01_]+|0o[0-7_]+|0x[0-9a-fA-F_]+|[0-9][0-9_]*)"),
        ("float", r"[-+]?([0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*|[0-9][0-9_]*(?=[eE]))([eE][-+]?[0-9]+)?"),
        ("float", r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"),
        ("merge", r"<<"),
    )
)
"""What text without quotes and tag means (YAML 1.2.2, 10.3.2); `_` in numbers and `<<` are of YAML 1.1, and wanted."""

_BEGINS_OTHER: Final = frozenset("~nNtTfF-+.0123456789<")


@dataclass(frozen=True, slots=True)
class _Scalar:
    line: int
    weight: int
    tag: str
    value: str


@dataclass(slots=True)
class _Items:
    """A list, or a mapping as its keys and values by turns. `weight` is complete when the node is."""

    line: int
    weight: int
    depth: int
    mapping: bool
    inside: list["_Node"]


_Node = _Scalar | _Items


class _Documents:
    """The documents of one YAML text. Dates stay text, and so does every key."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.problems: list[Problem] = []

    def read(self, text: str) -> Seq:
        documents = Seq("", 1)
        weight = 0
        try:
            for node in self._nodes(text):
                weight += node.weight
                if weight > MOST_WEIGHT:
                    raise _TooMuch(node.line, "too much: aliases included, the file comes to more than can be read")
                documents.append(self._value(node, ""))
                documents.lines.append(node.line)
        except _TooMuch as error:
            self._problem(error.line, "", error.message)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            message = _without_names(" ".join(filter(None, (error.context, error.problem))))
            self._problem(mark.line + 1 if mark else 0, "", f"not YAML: {message}")
        except yaml.YAMLError as error:
            self._problem(0, "", f"not YAML: {type(error).__name__}")
        return documents

    def _problem(self, line: int, path: str, message: str) -> None:
        self.problems.append(Problem(self.file, line, path, message))

    def _nodes(self, text: str) -> Iterator[_Node]:
        """The root of each document. An alias is the very node that it names, so nothing is as large as it looks."""
        anchors: dict[str, _Node] = {}
        open: list[tuple[_Items, str | None]] = []
        for event in yaml.parse(text, Loader=_Loader):
            node: _Node
            kind = type(event)
            if kind is yaml.ScalarEvent:
                node = _scalar(event)
                if event.anchor is not None:
                    anchors[event.anchor] = node
            elif kind is yaml.AliasEvent:
                unfinished = event.anchor in [name for _, name in open]
                message = "an alias that contains itself" if unfinished else "an alias of what is not there before it"
                node = _Scalar(event.start_mark.line + 1, _VALUE, _WRONG, message)
                node = node if unfinished else anchors.get(event.anchor, node)
            elif kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
                line = event.start_mark.line + 1
                if len(open) == _DEEPEST:
                    raise _TooMuch(line, f"lists and mappings are within each other more than {_DEEPEST} times")
                open.append((_Items(line, _VALUE, 1, kind is yaml.MappingStartEvent, []), event.anchor))
                continue
            elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
                node, anchor = open.pop()
                if anchor is not None:
                    anchors[anchor] = node
            else:
                if kind is yaml.DocumentStartEvent:
                    anchors.clear()
                continue
            if not open:
                yield node
                continue
            outer = open[-1][0]
            outer.inside.append(node)
            outer.weight += node.weight
            outer.depth = max(outer.depth, 1 + (node.depth if isinstance(node, _Items) else 0))
            if outer.weight > MOST_WEIGHT or outer.depth > _DEEPEST:
                raise _TooMuch(node.line, "too much: aliases included, the file comes to more than can be read")

    def _value(self, node: _Node, path: str) -> Any:
        if isinstance(node, _Scalar):
            return self._scalar(node, path)
        if node.mapping:
            return self._mapping(node, path)
        seq = Seq(path, node.line)
        for index, item in enumerate(node.inside):
            seq.append(self._value(item, _step(path, index)))
            seq.lines.append(item.line)
        return seq

    def _mapping(self, node: _Items, path: str) -> Map:
        result = Map(path, node.line)
        merged: list[Map] = []
        for key_node, value_node in zip(node.inside[::2], node.inside[1::2], strict=True):
            line = key_node.line
            if not isinstance(key_node, _Scalar) or key_node.tag == _WRONG:
                self._problem(line, path, "a key must be text")
                continue
            key = key_node.value
            value = self._value(value_node, path if key_node.tag == _MERGE else _step(path, key))
            if key_node.tag == _MERGE:
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

    def _scalar(self, node: _Scalar, path: str) -> Any:
        kind = node.tag.removeprefix(_TAG)
        if kind in ("str", "timestamp", "value"):
            return node.value
        if kind == _WRONG:
            self._problem(node.line, path, node.value)
            return None
        plain = node.value.lower().replace("_", "")
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
        self._problem(node.line, path, f"{tag} is not known here")
        return None


class _TooMuch(Exception):
    def __init__(self, line: int, message: str) -> None:
        self.line, self.message = line, message
        super().__init__(message)


_Loader: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml, which every wheel of PyYAML has in it, takes a fiftieth of the time of a parser in Python."""


def _scalar(event: Any) -> _Scalar:
    text = event.value
    tag = event.tag
    if tag is None or tag == "!":
        tag = f"{_TAG}str"
        if event.implicit[0] and (not text or text[0] in _BEGINS_OTHER):
            tag = next((tag for tag, pattern in _PLAIN if pattern.fullmatch(text)), tag)
    return _Scalar(event.start_mark.line + 1, _VALUE + len(text), tag, text)


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
