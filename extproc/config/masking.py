"""Keys that stand where none belongs stay out of messages too.

Rule: pure, and only for words to people. What is known to be a key is never quoted in the first place.
"""

import re

_KEY = re.compile(r"(?<![\w-])(sk-|glpat-|gh[opsu]_)[\w-]{6,}|(?<!\w)[\da-fA-F]{32,}(?!\w)", re.ASCII)
_GLUED = re.compile(r"(\bapiTokens?['\"]?\s*[:=]\s*['\"]?)[^\s'\"]+")
_UNDER = re.compile(r"(\bapiTokens?\b(?:\[\d+\])*)(?!\[\d+\]).+", re.DOTALL)

SECRET_NAME = re.compile("auth|key|cookie|token|secret|passw|credential|signature", re.IGNORECASE)
"""Found in names of headers, parameters and members whose value may be a key."""

SHORTEST = 8
"""A shorter text is no key, and would be found in words."""

_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")
_STATED = re.compile(
    r"(?:auth(?:orization)?|key|cookie|token|secret|passw(?:or)?d|credential|signature)s?[\"'\\]*\s*[:=]\s*[\"'\\]*"
    rf"(?!{_NUMBER.pattern}(?:[^\w.]|$))[^\s\"'\\]{{{SHORTEST},}}|\bbearer\s+\S{{{SHORTEST},}}",
    re.IGNORECASE,
)
_LONG = re.compile(r"[\w+=.-]{20,}", re.ASCII)
_RANDOM = re.compile(r"(?<![A-Za-z0-9])(?=[A-Za-z]*\d)(?=\d*[A-Za-z])[A-Za-z0-9]{13,}")
"""Names are of shorter words, between signs: `Qwen2.5-72B-Instruct`, and also the groups of a UUID."""
_VERSION = re.compile(r"api-version=[\w.-]{1,32}", re.ASCII)


def one_line(text: str) -> str:
    """Text with control characters as escapes, so that nothing it quotes looks like a line of its own."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def mask(text: str) -> str:
    """A message without what looks like a key, or is written right behind `apiToken:`."""
    return _GLUED.sub(r"\1…", _KEY.sub(r"\1…", text))


def looks_like_key(text: str) -> bool:
    """Whether text is a key by its look, or that of something in it."""
    random = any(_RANDOM.search(part) for part in _LONG.findall(text))
    return random or _STATED.search(text) is not None or mask(text) != text


def may_be_key(name: str, text: str) -> bool:
    """Whether text is a key by its look, or by the name under which it stands."""
    return looks_like_key(text) or stands_for_key(name, text)


def stands_for_key(name: str, text: str) -> bool:
    """Whether text is a key by the name under which it stands alone; a number is none."""
    text = text.strip()
    return SECRET_NAME.search(name) is not None and len(text) >= SHORTEST and not _NUMBER.fullmatch(text)


def is_public(parameter: str) -> bool:
    """Whether `NAME=VALUE` of a URL's query is no secret; any may be one that is not known."""
    return _VERSION.fullmatch(parameter) is not None and not looks_like_key(parameter)


def mask_path(path: str) -> str:
    """A path of keys in a file, without what stands below `apiToken` or `apiTokens`."""
    return mask(_UNDER.sub(r"\1…", path))


def is_secret(path: str) -> bool:
    """Whether a path of keys leads to or below `apiToken` or `apiTokens`."""
    return re.search(r"\bapiTokens?\b", path) is not None
