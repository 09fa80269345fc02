"""What a front is. Rule: the interface alone. A front is shared by all exchanges and remembers nothing."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Final

from extproc.fronts.writer import Writer
from extproc.providers.reader import Reader
from extproc.providers.traits import Traits
from extproc.terms.call import Call
from extproc.terms.errors import ProxyError
from extproc.terms.frozen import Frozen
from extproc.text.jsontext import Fields


class Notes(Frozen, frozen=True):
    """What a front remembers of a request for its answer; a front's own are a subclass.

    `dropped`: the members of the request that cannot be said in a chat request and do not change what is answered, a
    tool as `tools.NAME`.
    """

    dropped: tuple[str, ...] = ()


NOTHING: Final = Notes()


class Front(ABC):
    """A dialect that clients speak. This one has OpenAI's errors."""

    name: ClassVar[str]
    creates: ClassVar[str]
    """The API, as `Target.api`, whose requests are converted where a vendor does not speak this dialect."""

    @abstractmethod
    def read(self, fields: Fields, traits: Traits, model: str) -> tuple[Fields, Notes]:
        """The chat request of a client's body, and what its answer needs. `traits`: what differs between vendors.
        `model`: the vendor's name for it.

        Raises `ClientError` for what cannot be said in a chat request and would change the answer.
        """

    @abstractmethod
    def writer(self, call: Call, model: str, notes: Notes, source: Reader) -> Writer:
        """Who writes the answer to `call`, the chat call; see `Writer`."""

    def error(self, error: ProxyError, request_id: str | None) -> bytes:
        """The body of an error before the answer's head."""
        return error.body()

    def headers(self, request_id: str | None) -> Mapping[str, str]:
        """What every answer carries beside what is said elsewhere."""
        return {}
