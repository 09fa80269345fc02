"""What can be set about the simulated vendors.

Rule: plain frozen data, no behaviour beyond reading itself; everything per request is a marker (`faults.py`).
"""

from collections.abc import Mapping
from dataclasses import dataclass

ACCEPTED_PREFIX = "sk-sim"


@dataclass(frozen=True, slots=True)
class Options:
    """Settings of one simulator.

    `keys` maps a vendor (`dashscope`, `openai`, `azure`, `moonshot`) to the keys it accepts; a vendor that is
    not in it accepts every key that begins with `sk-sim`.
    """

    latency: float = 0.0
    """Seconds before the first byte of an answer."""
    interval: float = 0.0
    """Seconds between two events of a stream."""
    chunk_size: int | None = None
    """Bytes per write, so that events are cut anywhere; None writes event by event."""
    keys: Mapping[str, tuple[str, ...]] | None = None
    strict_host: bool = False
    """Refuse a Host header that is not the vendor's."""
    blank_lines: bool = True
    """False leaves out the blank line between DashScope's native events."""
    openai_bases: tuple[str, ...] = ("/v1",)
    """Path prefixes under which the OpenAI API is served."""
    tls_cert: str | None = None
    """PEM certificate chain; with `tls_key` the port speaks TLS."""
    tls_key: str | None = None

    def accepts(self, vendor: str, key: str) -> bool:
        """Whether `vendor` (str) takes `key` (str): bool."""
        if self.keys is not None and vendor in self.keys:
            return key in self.keys[vendor]
        return key.startswith(ACCEPTED_PREFIX)
