"""Keys that stand where none belongs stay out of messages too.

Rule: pure, and only for words to people. What is known to be a key is never quoted in the first place.
"""

import re

_KEY = re.compile(r"(?<![\w-])(sk-)[\w-]{6,}|(?<!\w)[\da-fA-F]{32,}(?!\w)", re.ASCII)
_GLUED = re.compile(r"(\bapiTokens?['\"]?\s*[:=]\s*['\"]?)[^\s'\"]+")
_UNDER = re.compile(r"(\bapiTokens?\b(?:\[\d+\])*)(?!\[\d+\]).+", re.DOTALL)

SECRET_NAME = re.compile("auth|key|cookie|token|secret|passw|credential|signature", re.IGNORECASE)
"""Found in names of headers, parameters and members whose value may be a key."""


def one_line(text: str) -> str:
    """Text with control characters as escapes, so that nothing it quotes looks like a line of its own."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def mask(text: str) -> str:
    """A message without what looks like a key, or is written right behind `apiToken:`."""
    return _GLUED.sub(r"\1…", _KEY.sub(r"\1…", text))


def mask_path(path: str) -> str:
    """A path of keys in a file, without what stands below `apiToken` or `apiTokens`."""
    return mask(_UNDER.sub(r"\1…", path))


def is_secret(path: str) -> bool:
    """Whether a path of keys leads to or below `apiToken` or `apiTokens`."""
    return re.search(r"\bapiTokens?\b", path) is not None
