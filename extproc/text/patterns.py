"""Names of models and hosts: which patterns they match; and what a provider calls a model.

Rule: pure matching, no configuration and no I/O. Regular expressions are RE2: linear time, whatever a client
sends as a name.
"""

from collections.abc import Iterable, Mapping
from functools import cache, cached_property, lru_cache
import re

import re2


@cache
def compiled(pattern: str) -> "re2._Regexp[str]":
    """An RE2 expression. Raises `ValueError`."""
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        reason = error.args[0]
        text = reason.decode() if isinstance(reason, bytes) else str(reason)
        raise ValueError(f"~{pattern} is not an RE2 regular expression: {text}") from None


_NAMES = 256
"""Names whose matching is remembered, for each set of expressions."""


class NamePatterns:
    """A set of name patterns: `exact`, globs where `*` stands for any text (`qwen*`, `qwen*-omni*`), or `~regex`.

    Raises `ValueError` for a pattern that is no RE2 expression.
    """

    def __init__(self, patterns: Iterable[str]) -> None:
        self.patterns = tuple(patterns)
        self.exact: tuple[str, ...] = tuple(p for p in self.patterns if not p.startswith("~") and "*" not in p)
        self._exact = frozenset(self.exact)
        alternatives = [
            p[1:] if p.startswith("~") else "(?s)^" + ".*".join(map(re2.escape, p.split("*"))) + r"\z"
            for p in self.patterns
            if p not in self.exact
        ]
        self._others = [compiled(a) for a in alternatives]
        # A dozen patterns cost as much as opening a request's body, and few names come again and again.
        self._matches = lru_cache(maxsize=_NAMES)(self._match)

    def __repr__(self) -> str:
        return f"NamePatterns({self.patterns})"

    def __contains__(self, name: str) -> bool:
        return name in self._exact or (bool(self._others) and self._matches(name))

    def _match(self, name: str) -> bool:
        return any(other.search(name) for other in self._others)


_REFERENCE = re.compile(r"\$(?:(\$)|(\d+)|\{(\w+)\})")


def _template(target: str) -> str:
    """A Go-style replacement (`$1`, `${1}`, `${name}`, `$$`) in RE2's own form."""

    def one(match: re.Match[str]) -> str:
        dollar, number, name = match.groups()
        return "$" if dollar else rf"\g<{number or name}>"

    return _REFERENCE.sub(one, target.replace("\\", "\\\\"))


def _replaced(regex: "re2._Regexp[str]", template: str, name: str) -> str:
    """`name` with every match replaced, as Go and RE2 do it: an empty match right behind another is none, so that `.*`
    matches once. Python's own way would find it twice."""
    end = -1

    def one(match: "re2._Match[str]") -> str:
        nonlocal end
        before, end = end, match.end()
        return "" if match.start() == match.end() == before else str(match.expand(template))

    return str(regex.sub(one, name))


class ModelMapping:
    """`modelMapping`: client's name → vendor's name.

    Order: the exact key; the longest `prefix*` key; `~regex` keys in file order (unanchored, the matched part is
    replaced); `*`. An empty target keeps the client's name and ends the search; without any match the name stays.
    Raises `ValueError` for a bad regular expression or replacement.
    """

    def __init__(self, mapping: Mapping[str, str]) -> None:
        self.written = dict(mapping)
        self.default = mapping.get("*")
        self.exact = {k: v for k, v in mapping.items() if not k.startswith("~") and not k.endswith("*")}
        prefixes = [(k[:-1], v) for k, v in mapping.items() if k.endswith("*") and k != "*" and not k.startswith("~")]
        self._prefixes = sorted(prefixes, key=lambda kv: len(kv[0]), reverse=True)
        self._regexes = [(compiled(k[1:]), _template(v)) for k, v in mapping.items() if k.startswith("~")]
        self._by_expression = lru_cache(maxsize=_NAMES)(self._expressed)
        for regex, template in self._regexes:
            numbers = [int(n) for n in re.findall(r"\\g<(\d+)>", template)]
            names = re.findall(r"\\g<([^\d>]\w*)>", template)
            if max(numbers, default=0) > regex.groups or any(n not in regex.groupindex for n in names):
                raise ValueError(f"~{regex.pattern} has no such group as its target names")

    def __bool__(self) -> bool:
        return bool(self.written)

    def rule(self, name: str) -> str | None:
        """The key that decides on a client's name; None where none does."""
        if name in self.exact:
            return name
        for prefix, _ in self._prefixes:
            if name.startswith(prefix):
                return f"{prefix}*"
        found = next((f"~{regex.pattern}" for regex, _ in self._regexes if regex.search(name)), None)
        return found or (None if self.default is None else "*")

    def map(self, name: str) -> str:
        """The vendor's name for a client's (non-empty) name."""
        if name in self.exact:
            return self.exact[name] or name
        for prefix, target in self._prefixes:
            if name.startswith(prefix):
                return target or name
        return self._by_expression(name) if self._regexes else self.default or name

    def _expressed(self, name: str) -> str:
        for regex, template in self._regexes:
            if regex.search(name):
                return _replaced(regex, template, name) if template else name
        return self.default or name

    @cached_property
    def targets(self) -> tuple[str, ...]:
        """The vendor's names that it leads to, but for those that an expression makes."""
        return tuple(dict.fromkeys(v for k, v in self.written.items() if v and not k.startswith("~")))

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The exact keys: the names that a client can know."""
        return tuple(self.exact)


_HOST = re.compile(r"\*|\*[.\w-]*\w|\w[.\w-]*\*?|\[[\da-f:.]+\]", re.ASCII)


def host_pattern(text: str) -> str:
    """A host pattern in plain form: lower case, without the port that it may name. Raises `ValueError` for one that
    no host can match."""
    pattern = re.sub(r":\d+$", "", text.lower())
    if not _HOST.fullmatch(pattern):
        raise ValueError(f"no host can match {text!r}; allowed: api.example.com, *.example.com, example.*, *, [::1]")
    return pattern


def host_regex(pattern: str) -> str:
    """The RE2 expression that all of a host's name, without port, must match: exact, `*suffix`, `prefix*` or `*`, in
    any case. What follows it is matched in any case too. Raises `ValueError` as `host_pattern`."""
    return "(?i)" + ".*".join(map(re2.escape, host_pattern(pattern).split("*")))


@cache
def host_patterns(patterns: tuple[str, ...]) -> "re2._Regexp[str]":
    """One expression for several host patterns, to be matched in full."""
    return compiled("|".join(map(host_regex, patterns)))
