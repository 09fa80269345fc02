"""Refusals: one exception with what any vendor's error needs.

Rule: code that refuses says why; how it looks on the wire is the vendor's `error` function. `code` and `type`
left out are filled from the status by the vendor.
"""

from typing import Any


class Refusal(Exception):
    """A request the vendor does not serve: status, message, and what is known of code, type and param."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        kind: str | None = None,
        param: str | None = None,
        extra: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.kind = kind
        self.param = param
        self.extra = extra or {}
        self.headers = headers or {}
