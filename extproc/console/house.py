"""What the console is told by the process that it lives in, and nothing else.

Rule: names and shapes; the supervisor fills them. Nothing here has a key: of one at most the last four characters.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from extproc.config.config import Config
from extproc.limits.authority import Fill
from extproc.limits.history import By, Row
from extproc.worker.channel import Rested, Seen


class House(Protocol):
    """`host`: where the admin port listens. `token`: marks our own chats."""

    host: str
    token: str

    @property
    def config(self) -> Config:
        """What is served now."""

    @property
    def base(self) -> str | None:
        """The gateway's own listener, `http://host:port`; None where it is not known."""

    @property
    def votes(self) -> Path | None:
        """Where the game's votes are kept; None: nowhere."""

    def configuration(self) -> Mapping[str, object]:
        """Generation, source, since when (seconds since 1970), what was refused of the files as they are, notes."""

    def rests(self) -> Sequence[Rested]:
        """Keys that are not used now; `until` by `time.monotonic`."""

    def processes(self) -> Sequence[Mapping[str, object]]:
        """The worker processes."""

    def not_ready(self) -> str | None:
        """Why requests would not be served; None if they are."""

    def trouble(self) -> Mapping[str, str]:
        """What goes wrong and is tried again."""

    async def look(self, most: int) -> Sequence[Seen]:
        """Of each worker what ended since the last look, at most so much."""

    async def envoy(self) -> Mapping[str, object] | None:
        """Envoy as it says itself: version, pid, clusters; None where it is somebody else's."""

    async def vendors(self) -> Sequence[Mapping[str, object]]:
        """Whether each vendor can be reached, and until when its certificate is good."""

    async def redis(self) -> Mapping[str, object] | None:
        """Whether Redis answers; None where there is none."""

    def certificates(self) -> Sequence[Mapping[str, object]]:
        """Our own certificates and when they end."""

    async def used(self, since: float, by: Sequence[By], width: int) -> Sequence[Row]:
        """What was used from `since` (seconds since 1970) on, summed up by what is named; by `time` in steps of
        `width` seconds."""

    def fills(self) -> Sequence[Fill]:
        """Every limit of which something is used."""
