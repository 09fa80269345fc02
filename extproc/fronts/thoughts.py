"""A model's thinking in an opaque form of ours, for clients that carry it back unread.

Rule: a version, then base64url; whatever is not ours, or of a version not known here, opens as nothing, never as an
error: clients bring what other vendors gave them. It hides nothing, since the same thinking stands beside it.
"""

import base64
import binascii
from typing import Any, Final

VERSION: Final = "aiproxy-1."


def closed(text: str) -> str:
    """The opaque form of a text."""
    return VERSION + base64.urlsafe_b64encode(text.encode("utf-8", "surrogatepass")).decode()


def opened(value: Any) -> str | None:
    """The text again; None for what is not of ours."""
    if not isinstance(value, str) or not value.startswith(VERSION):
        return None
    try:
        return base64.b64decode(value.removeprefix(VERSION), b"-_", validate=True).decode("utf-8", "surrogatepass")
    except (binascii.Error, ValueError):
        return None
