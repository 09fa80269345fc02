"""The input of a freeform tool, taken out of the JSON that a function's arguments are.

Rule: pieces in, pieces out, and the outcome does not depend on the cuts. The arguments should be `{"input": "…"}`; what
a model says instead is taken for the input as it stands, or unpacked at the end where it is JSON of another shape.
"""

import re
from typing import Final

from extproc.text import jsontext
from extproc.text.jsontext import NotJson

_HEAD: Final = re.compile(r'\s*\{\s*"input"\s*:\s*"')
_PLAIN: Final = re.compile(r'[^"\\]+')
_MOST_HEAD: Final = 4096
"""Characters from which arguments without the head are no longer looked through again and again."""
_SHORT: Final = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\", "/": "/"}


class Freeform:
    """Feed it the arguments, close it at their end."""

    def __init__(self) -> None:
        self._held = ""
        self._rest: list[str] = []  # of what is unpacked at the end
        self._inside = False  # of the JSON text that is the input
        self._raw = False  # it is no JSON
        self._over = False

    def feed(self, piece: str) -> str:
        """What of the input is new and sure."""
        if self._over:
            return ""
        if self._raw:
            return piece
        if self._rest:
            self._rest.append(piece)
            return ""
        self._held += piece
        if not self._inside:
            if (head := _HEAD.match(self._held)) is None:
                begun = self._held.lstrip()
                if begun and begun[0] not in '{"':
                    self._raw, said, self._held = True, self._held, ""
                    return said
                if len(self._held) > _MOST_HEAD:
                    self._rest.append("")
                return ""
            self._inside, self._held = True, self._held[head.end() :]
        return self._unescape(last=False)

    def close(self) -> str:
        """The rest."""
        if self._over or self._raw:
            return ""
        if self._inside:  # cut in the middle
            return self._unescape(last=True)
        return _unpacked("".join((self._held, *self._rest)))

    def _unescape(self, *, last: bool) -> str:
        text, at, out = self._held, 0, []
        while at < len(text):
            if plain := _PLAIN.match(text, at):
                out.append(plain[0])
                at = plain.end()
            elif text[at] == '"':
                self._over = True
                break
            elif (found := _escape(text, at, last=last)) is None:
                break
            else:
                said, at = found
                out.append(said)
        self._held = text[at:]
        return "".join(out)


def _escape(text: str, at: int, *, last: bool) -> tuple[str, int] | None:
    """What the escape at this place stands for, and where it ends; None where the text must go on first.
    Two halves of a surrogate pair are one character. What is no escape stands for itself."""
    kind = text[at + 1 : at + 2]
    if not kind:
        return ("", len(text)) if last else None
    if kind != "u":
        return _SHORT.get(kind, f"\\{kind}"), at + 2
    digits = text[at + 2 : at + 6]
    if not re.fullmatch(r"[0-9a-fA-F]*", digits):
        return "\\u", at + 2
    if len(digits) < 4:
        return ("", len(text)) if last else None
    code, at = int(digits, 16), at + 6
    if not 0xD800 <= code < 0xDC00:
        return chr(code), at
    rest = text[at : at + 6]
    if pair := re.fullmatch(r"\\u([dD][c-fC-F][0-9a-fA-F]{2})", rest):
        return chr(0x10000 + ((code - 0xD800) << 10) + (int(pair[1], 16) - 0xDC00)), at + 6
    if not last and len(rest) < 6 and re.fullmatch(r"(\\(u([dD]([c-fC-F][0-9a-fA-F]?)?)?)?)?", rest):
        return None
    return chr(code), at


def _unpacked(text: str) -> str:
    """Of arguments that begin as JSON and are not the object that was asked for: the `input` in it, or its only
    text, else all of it."""
    try:
        value = jsontext.load(text.encode("utf-8", "surrogatepass"))
    except NotJson:
        return text
    if isinstance(value, dict):
        if not value:
            return ""  # so are calls without arguments written
        texts = [one for one in value.values() if isinstance(one, str)]
        given = value.get("input", texts[0] if len(texts) == len(value) == 1 else None)
        if isinstance(given, str):
            return given
        return text if given is None else jsontext.dump(given).decode()
    return value if isinstance(value, str) else text
