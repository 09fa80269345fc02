"""Bearer tokens that a vendor's own login makes of a service account, by Google's library.

Rule: asked ahead of time, in a thread beside the loop, never in an exchange. What is wrong is said without the key.
"""

from datetime import UTC, datetime
import json

from extproc.providers.base import TokenSource

_LEAST_PAUSE = 30.0
_AHEAD = 300.0
"""Seconds before its end that a token is made anew, unless it lives so short that half of its life is later.
google-auth itself takes one for expired 225 s before (2.4x, 2026-11)."""
_UNKNOWN_LIFE = 3600.0


class TokenError(Exception):
    """A token that cannot be had now; the message says why."""


def token(source: TokenSource) -> tuple[str, float]:
    """A token, and the seconds until the next one is to be made. Blocks. Raises `TokenError`."""
    from google.auth import exceptions  # an optional dependency, missed when the configuration is loaded
    from google.auth.transport.requests import Request
    from google.oauth2 import service_account

    try:
        info = json.loads(source.key.get_secret_value())
        made = service_account.Credentials.from_service_account_info(info, scopes=[source.scope])  # type: ignore[no-untyped-call]
        made.refresh(Request())
    except exceptions.RefreshError as error:
        again = "it is tried again" if error.retryable else "the key is refused"
        raise TokenError(f"the token server says no: {again}") from None
    except (ValueError, TypeError):
        raise TokenError("vertexAuthKey is not a service account's JSON") from None
    except exceptions.GoogleAuthError as error:
        raise TokenError(f"the token server cannot be asked: {type(error).__name__}") from None
    expiry = made.expiry
    life = _UNKNOWN_LIFE if expiry is None else (expiry.replace(tzinfo=UTC) - datetime.now(UTC)).total_seconds()
    return str(made.token), max(_LEAST_PAUSE, life / 2, life - _AHEAD)
