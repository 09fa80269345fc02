"""How an exchange ended that nobody finished: codes for `error` in the log line, the access log and what is counted.

Rule: ext_proc's stream ends alike in all of these cases (Envoy 1.40), so it is Envoy's log that tells them apart; where
nobody reads that, `CUT` is all that is known.
"""

from typing import Final

CUT: Final = "cut"
"""By the client, or by the vendor."""

CLIENT_LEFT: Final = "client_left"
VENDOR_CUT: Final = "vendor_cut"
"""The vendor's connection broke, before its answer or within."""

SILENT: Final = "idle_timeout"
"""Nothing went either way for `streamIdleTimeout`."""

UNAVAILABLE: Final = "upstream_unavailable"
TIMED_OUT: Final = "upstream_timeout"

ENDS: Final = frozenset({CLIENT_LEFT, VENDOR_CUT, SILENT, UNAVAILABLE, TIMED_OUT})
"""What Envoy's log can say."""
