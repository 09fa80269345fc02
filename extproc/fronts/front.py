"""What a front is. Rule: the interface alone. A front is shared by all exchanges and remembers nothing."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

from extproc.fronts.writer import Writer
from extproc.providers.reader import Reader
from extproc.providers.traits import Traits
from extproc.terms.call import Call, Target
from extproc.terms.errors import ProxyError, UnsupportedApi
from extproc.terms.frozen import Frozen
from extproc.text import sse
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
    counts: ClassVar[str] = ""
    """The API that tells how many tokens such a request has, answered here unless the vendor has it."""
    repairs: ClassVar[bool] = False
    """Whether `repair` does anything."""
    breaks: ClassVar[bool] = True
    """Whether a client's connection is broken behind an error in the middle of a stream, lest it look complete."""
    shares_keys: ClassVar[bool] = True
    """A key that clients show here is a vendor's, where the configuration has none for it."""

    @abstractmethod
    def read(self, fields: Fields, traits: Traits) -> tuple[Fields, Notes]:
        """The chat request of a client's body, and what its answer needs. `traits`: what differs between vendors
        and their models.

        Raises `ClientError` for what cannot be said in a chat request and would change the answer.
        """

    @abstractmethod
    def writer(self, call: Call, model: str, notes: Notes, source: Reader) -> Writer:
        """Who writes the answer to `call`, the chat call; see `Writer`."""

    def count(self, fields: Fields) -> bytes:
        """The answer to a request for `counts`. Raises `ClientError`."""
        raise UnsupportedApi("tokens are not counted here")

    def serves(self, target: Target, method: str) -> bool:
        """Whether there is such an API at all; vendors may lack it still."""
        return True

    def error(self, error: ProxyError, request_id: str, notes: Notes = NOTHING) -> bytes:
        """The body of an error before the answer's head. `notes`: of the request, where it came so far."""
        return error.body()

    def failure(self, error: ProxyError, request_id: str) -> bytes:
        """An error in the middle of a stream that passes."""
        return sse.encode(self.error(error, request_id))

    def repair(self, fields: Fields, traits: Traits, *, own: bool) -> tuple[Fields, Notes]:
        """The body for a vendor that speaks this dialect. `own`: it is the vendor whose dialect it is."""
        return fields, NOTHING

    def headers(self, request_id: str) -> Mapping[str, str]:
        """What every answer carries beside what is said elsewhere."""
        return {}

    def model(self, name: str, made: int) -> dict[str, Any]:
        """A model of `GET /v1/models`. `made`: seconds since 1970."""
        return {"id": name, "object": "model", "created": made, "owned_by": "ai-proxy"}

    def models(self, models: Sequence[dict[str, Any]], query: Mapping[str, str]) -> dict[str, Any]:
        """The list of them."""
        return {"object": "list", "data": models}
