"""What a provider is. `Provider` means "OpenAI-compatible"; a vendor's file overrides only the difference.

Rule: a provider is its frozen configuration plus pure functions on a `Call`; it is shared by all exchanges and
remembers nothing. What one exchange remembers lives in its `Translator`.
"""

from abc import abstractmethod
from collections.abc import Mapping
from functools import cached_property
from hashlib import sha256
from typing import Annotated, ClassVar, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, model_validator

from extproc.providers import messages
from extproc.providers.blocks import (
    ID,
    Block,
    CircuitBreakers,
    ContextFile,
    CustomSetting,
    Failover,
    Mapped,
    OriginUrl,
    OutlierDetection,
    RetryOnFailure,
    Seconds,
    Tls,
    Tokens,
    UsageOfPassed,
)
from extproc.providers.families import Families, Family, FamilyBlock, Overlay, Sense, patterns_alone
from extproc.providers.openai_chat import ChatReader
from extproc.providers.passthrough import PassThrough
from extproc.providers.reader import Reader
from extproc.providers.traits import Traits
from extproc.providers.translator import Translator
from extproc.providers.upstream import Body, ContextSource, TokenSource, Upstream, UpstreamRequest, with_query
from extproc.terms.call import CHAT, COMPLETIONS, JSON_APIS, MESSAGES, RESPONSES, Call, Target
from extproc.terms.errors import InvalidParameter, UnsupportedApi, UpstreamError
from extproc.terms.frozen import replace
from extproc.terms.refusals import vendor_error
from extproc.terms.usage import is_asked
from extproc.text import jsontext, sse
from extproc.text.jsontext import NULL, Fields
from extproc.text.patterns import ModelMapping

ThinkingMode = Literal["passthrough", "ignore", "concat"]
"""What becomes of thinking: shown as it is, left out, or put before the answer's text."""

__all__ = [
    "Body",
    "ContextSource",
    "Provider",
    "ThinkingMode",
    "TokenSource",
    "Upstream",
    "UpstreamRequest",
    "vendor_error",
    "with_query",
]


_UNCHANGED = Body(None)


class Provider(Block):
    """A vendor that speaks OpenAI's API under OpenAI's paths."""

    tokens_required: ClassVar[bool] = True
    knows_developer: ClassVar[bool] = False
    """Whether the vendor accepts the role `developer`."""
    keeps_signatures: ClassVar[bool] = False
    """Whether tool calls' ids go out with what Gemini signed."""
    known_families: ClassVar[Families] = Families(())
    """What is known of the vendor's models."""
    setting_prefix: ClassVar[str] = ""
    """Under `protocol: original`: where the vendor's own dialect keeps sampling parameters."""

    type: str
    id: str = Field(default="", pattern=ID)
    api_tokens: Tokens = ()
    api_token: Tokens = ()
    protocol: Literal["openai", "original"] = "openai"
    model_mapping: Mapped = ModelMapping({})
    models: tuple[str, ...] | None = None
    vision_model: str | None = Field(default=None, min_length=1)
    families: Annotated[dict[str, FamilyBlock], AfterValidator(patterns_alone)] = Overlay()
    response_model: Literal["client", "upstream"] = "client"
    usage: UsageOfPassed = UsageOfPassed()
    record_usage: bool | None = None
    """Of before `usage`: `true` is `passed: read`; with `false` nothing is counted, also where answers are read."""
    responses_api: Literal["convert", "pass"] | None = None
    messages_api: Literal["convert", "pass"] | None = None
    endpoint: OriginUrl | None = None
    tls: Tls = Tls()
    context: ContextFile | None = None
    custom_settings: tuple[CustomSetting, ...] = ()
    failover: Failover | None = None
    retry_on_failure: RetryOnFailure | None = None
    outlier_detection: OutlierDetection = OutlierDetection()
    circuit_breakers: CircuitBreakers = CircuitBreakers()
    idle_timeout: Seconds = 4.0
    """How long Envoy keeps a connection that nobody uses. A server that closes it first may do so under a request that
    is on its way, which nobody can tell from one that it has read: so before the usual 5 s (uvicorn and with it vLLM
    and SGLang, Node.js, Apache, cpp-httplib; nginx has 75 s, AWS' balancers 60 s; 2026)."""
    timeout: int = Field(default=120_000, gt=0)
    """Milliseconds that fetching a context text may take."""

    @model_validator(mode="before")
    @classmethod
    def _name(cls, value: object) -> object:
        return {"id": value.get("type"), **value} if isinstance(value, dict) else value

    @model_validator(mode="after")
    def _has_tokens(self) -> Self:
        if self.tokens_required and not self.tokens:
            raise ValueError(f"apiTokens is missing: type {self.type} needs at least one key")
        return self

    @model_validator(mode="after")
    def _counts_one_way(self) -> Self:
        if self.record_usage is not None and "usage" in self.model_fields_set:
            raise ValueError("recordUsage and usage cannot be used together: usage.passed says both")
        return self

    @model_validator(mode="after")
    def _has_what_passes(self) -> Self:
        if self.responses_api == "pass" and "responses" not in self.has:
            raise ValueError(f"responsesApi: {self.type} has no Responses API that a request could be passed to")
        if self.messages_api == "pass" and MESSAGES not in self.has:
            raise ValueError(f"messagesApi: {self.type} has no Messages API that a request could be passed to")
        return self

    # What the rest of the program asks

    @property
    def example_model(self) -> str:
        """A name to show people where the configuration has none."""
        return "gpt-6-luna"

    @cached_property
    def tokens(self) -> tuple[SecretStr, ...]:
        """The keys of `apiTokens` and `apiToken`, each once."""
        return tuple(dict.fromkeys(self.api_tokens + self.api_token))

    @cached_property
    def names(self) -> tuple[str, ...] | None:
        """The model names that a client may use, as far as the configuration tells; None: only the vendor knows."""
        return self.models if self.models is not None else self.model_mapping.names or None

    @cached_property
    def _known(self) -> Families:
        return Families(self.known_families.rows, self.families, self._lists)

    def _lists(self, name: str, row: Family) -> Family:
        """What other keys of the configuration say of a model."""
        return row

    def family(self, model: str | None) -> Family:
        """What is known of a model by the vendor's name for it."""
        return self._known.of(model or "")

    def sees(self, call: Call) -> frozenset[Sense] | None:
        """What the model that a call goes to takes besides text; None: not known."""
        return self.family(call.upstream_model).sees

    def sighted(self, call: Call) -> Call:
        """A chat, for `visionModel` where the model that it goes to is blind for something in it.

        Raises `InvalidParameter` where no model is there for that.
        """
        if call.api != CHAT or call.body is None or self.protocol == "original" or (sees := self.sees(call)) is None:
            return call
        missing = messages.senses(call.body.get("messages", NULL)) - sees
        if not missing:
            return call
        if self.vision_model is not None and missing <= (self.family(self.vision_model).sees or missing):
            return replace(call, upstream_model=self.vision_model)
        what = " and ".join(sorted(missing))
        cure = "set visionModel to one that does" if self.vision_model is None else "its visionModel does not either"
        who = f"the model {call.upstream_model!r} of provider {self.id!r}"
        raise InvalidParameter(f"{who} takes no {what}: {cure}, or ask for another model", param="messages")

    @cached_property
    def upstream(self) -> Upstream:
        """The vendor's address, or `endpoint` in its place: Host and SNI stay the vendor's unless the endpoint is
        https under another name (an IP address is not a name)."""
        vendor = urlsplit(self.vendor_url)
        place = urlsplit(self.endpoint) if self.endpoint else vendor
        named = place.scheme == "https" and not _is_address(place.hostname or "")
        identity = place if named else vendor
        return Upstream(
            address=place.hostname or "",
            port=place.port or (443 if place.scheme == "https" else 80),
            tls=place.scheme == "https",
            authority=identity.netloc.rpartition("@")[2],
            sni=identity.hostname or "",
        )

    @cached_property
    def place(self) -> str:
        """Tells one vendor at one address from another: a key must reach no other, whatever the id says meanwhile."""
        return sha256(repr((self.type, self.upstream)).encode()).hexdigest()[:12]

    @cached_property
    def counts_passed(self) -> bool:
        """Whether tokens are counted in answers that need no reading."""
        return self.usage.passed != "off" if self.record_usage is None else self.record_usage

    def upstream_model(self, model: str | None) -> str | None:
        """The vendor's name for the client's; a missing one takes the mapping's `*` target."""
        return self.model_mapping.map(model) if model else self.model_mapping.default or None

    @property
    def context_source(self) -> ContextSource | None:
        """Where the text comes from that goes into every chat; None without one."""
        if self.context is None:
            return None
        given = self.context
        return ContextSource(given.file_url, given.refresh, self.timeout / 1000, given.max_bytes)

    @property
    def token_source(self) -> TokenSource | None:
        """Where the provider's key comes from, if it is a token that is made anew ahead of its end."""
        return None

    @property
    def needs_package(self) -> tuple[str, str] | None:
        """A module that is no dependency of everybody's, and what is installed to have it."""
        return None

    @property
    def token_name(self) -> str:
        """Under which such a token is found among the texts that exchanges are given; no id is like it."""
        return f"{self.id}#token"

    def takes_context(self, call: Call) -> bool:
        """Whether the context text belongs into this call."""
        return call.api in (CHAT, MESSAGES, RESPONSES) and call.body is not None

    def named_by(self, model: str | None, upstream_model: str | None) -> str:
        """Where it is said that a client's name of a model is this one at the vendor."""
        if upstream_model == self.vision_model:
            return "visionModel"
        if not model or self.upstream_model(model) != upstream_model:
            return "the route" if model else "modelMapping '*'"
        rule = self.model_mapping.rule(model)
        return "the client" if rule is None or model == upstream_model else f"modelMapping {rule!r}"

    def settled(self, body: Fields) -> Fields:
        """A client's body after `customSettings`, in OpenAI's terms or under `protocol: original` in the vendor's."""
        if not self.custom_settings:
            return body
        fields = dict(body)
        prefix = self.setting_prefix if self.protocol == "original" else ""
        for setting in self.custom_settings:
            messages.apply_setting(fields, setting, prefix)
        return fields

    def request(self, call: Call) -> UpstreamRequest:
        """The vendor's request, always from the client's original body.

        Raises `UnsupportedApi` for what the vendor lacks, `ClientError` for what the client got wrong.
        """
        if self.protocol == "original":
            self.check_original(call)
            path = with_query(call.target.path, call.target.query)
        else:
            path = self.path(call)
        body, headers = self.body(call), self.credentials(call)
        if call.target.root == MESSAGES and self.protocol == "openai":
            headers = {"anthropic-version": call.headers.get("anthropic-version", _VERSION), **headers}
        return UpstreamRequest(path, headers, body.text, dropped=body.dropped)

    def translator(self, call: Call) -> Translator | None:
        """Who translates the answer; None: it needs no change, so its bytes stay in Envoy."""
        restore = self.restores_model(call)
        if self.protocol == "original" or call.body is None or not (restore or self.counts(call)):
            return None
        return PassThrough(call, restore=restore, event_error=self.event_error, hides=self.asks_usage(call))

    def counts(self, call: Call) -> bool:
        """Whether the answer to a call is read for its usage alone."""
        return self.counts_passed and (call.api in JSON_APIS or self.record_usage is True)

    def left_to_envoy(self, call: Call) -> bool:
        """Whether Envoy itself may count the answer to a call: a stream that tells its usage where Envoy looks for it,
        also when the vendor is not asked."""
        if self.usage.passed != "envoy" or not call.stream or call.body is None or self.protocol == "original":
            return False
        return call.api in (RESPONSES, MESSAGES) or (call.api == CHAT and is_asked(call.body))

    def asks_usage(self, call: Call) -> bool:
        """Whether the vendor is asked for the usage of a stream whose client does not want it: it must see none of
        it."""
        return (
            call.stream
            and call.api in (CHAT, COMPLETIONS)
            and self.protocol == "openai"
            and self.record_usage is None  # which never changes a request
            and self.counts_passed
            and self.takes_stream_options(call)
            and call.body is not None
            and not is_asked(call.body)
        )

    def takes_stream_options(self, call: Call) -> bool:
        """Whether the vendor can be asked so, and does not tell it anyway."""
        return True

    @cached_property
    def speaks(self) -> frozenset[str]:
        """The dialects (`Target.front`) whose clients the vendor serves as they are."""
        said = {RESPONSES: self.responses_api, MESSAGES: self.messages_api}
        converted = {front for front, way in said.items() if way == "convert"}
        return (self.passes - converted) | {front for front, way in said.items() if way == "pass"}

    @property
    def has(self) -> frozenset[str]:
        """The dialects that the vendor has an endpoint for."""
        return _OPENAI

    @property
    def passes(self) -> frozenset[str]:
        """Those of them in which its clients are served as they are unless the configuration says otherwise."""
        return self.has

    def traits(self, model: str) -> Traits:
        """What differs from other vendors in a chat request to one of its models."""
        return _LEAST

    @property
    def thinking(self) -> ThinkingMode:
        """What clients see of the vendor's thinking where an answer is converted."""
        return "passthrough"

    @property
    def counting(self) -> frozenset[str]:
        """The dialects in which the vendor says how many tokens a request has."""
        return self.speaks & {"responses"}

    def reader(self, call: Call) -> Reader:
        """Who reads the answer to a chat `call`, for a client whose dialect the vendor does not speak."""
        return ChatReader(self.event_error)

    def answers_chat(self, call: Call) -> bool:
        """Whether a chat is answered as one; else `reader` reads another protocol."""
        return True

    def watches(self, call: Call) -> bool:
        """Under `protocol: original`: whether tokens are counted in the answer as it passes."""
        return self.protocol == "original" and self.counts_passed and call.body is not None

    def restores_model(self, call: Call) -> bool:
        """Whether the answer names a model that the client did not ask for."""
        return call.renamed and self.response_model == "client"

    def error(self, status: int, body: bytes) -> UpstreamError:
        """A vendor's refusal (`status` ≥ 400, `body` decoded from any compression) as an OpenAI error."""
        return vendor_error(status, body)

    def turns(self, call: Call, error: UpstreamError) -> bool:
        """Whether a refusal says that the model answers on another path, which is worth a try: `Call.turned`."""
        return False

    @property
    def has_paths(self) -> bool:
        """Whether there ever is such a refusal."""
        return False

    def refusal(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamError:
        """As `error`, for vendors whose `headers` say more."""
        return self.error(status, body)

    def event_error(self, event: sse.Event) -> UpstreamError | None:
        """The error that an event of a stream is in the vendor's own form; OpenAI's (`{"error": {…}}`) needs none."""
        return None

    # What a vendor overrides

    @property
    @abstractmethod
    def vendor_url(self) -> str:
        """The vendor's own address: scheme, host, port."""

    @abstractmethod
    def path(self, call: Call) -> str:
        """The upstream path with query for an OpenAI API. Raises `UnsupportedApi`."""

    @property
    def original_prefixes(self) -> tuple[str, ...]:
        """Under `protocol: original`: where the vendor's own API begins; the rest of its host is not for clients."""
        return ("/v1/",)

    def credentials(self, call: Call) -> Mapping[str, str]:
        """The headers that carry the key of `call`."""
        return {"authorization": f"Bearer {call.token}"}

    def edit(self, fields: Fields, call: Call) -> tuple[str, ...]:
        """The vendor's own changes to an OpenAI body, in place; what they dropped, see `Body`."""
        return ()

    def wants_model(self, target: Target) -> bool:
        """Whether a body for this path, one of the vendor's own, takes the mapping's `*` where it names no model."""
        return False

    def check_original(self, call: Call) -> None:
        """Under `protocol: original`: raises `UnsupportedApi` for paths that are not the vendor's API."""
        if not call.target.plain or not call.target.path.startswith(self.original_prefixes):
            raise UnsupportedApi(f"{self.type} has no API of its own at this path (protocol: original)")

    def insert_context_original(self, fields: Fields, call: Call) -> None:
        """Under `protocol: original`: put the context text where the vendor keeps its messages."""
        if "messages" in fields:
            fields["messages"] = messages.insert_system(fields["messages"], call.context)

    # The body

    def body(self, call: Call) -> Body:
        """The upstream body."""
        if call.body is None:
            return _UNCHANGED
        fields, dropped = (self.original_fields(call), ()) if self.protocol == "original" else self.openai_fields(call)
        same, asks = fields == call.body and not call.settled, self.asks_usage(call)
        if same and not asks:
            return _UNCHANGED
        if same and "stream_options" not in fields:
            head, _, tail = call.text.partition(b"{")
            return Body(head + _ASKING + tail)
        if asks:
            given = jsontext.peek(fields.get("stream_options", NULL))
            options = {**given, "include_usage": True} if isinstance(given, dict) else {"include_usage": True}
            fields["stream_options"] = jsontext.raw(options)
        return Body(jsontext.dump(fields), dropped)

    def openai_fields(self, call: Call) -> tuple[Fields, tuple[str, ...]]:
        """The client's body with everything done to it that is said in OpenAI's terms, and what that dropped. Needs
        `call.body`."""
        fields = self._mapped(call)
        if call.api == CHAT:
            messages.check_messages(fields)
            if not self.keeps_signatures:
                messages.without_signatures(fields, call.text)
        if not self.knows_developer:
            messages.developer_to_system(fields, {CHAT: "messages", RESPONSES: "input"}.get(call.api or ""))
        if call.context is not None:
            messages.insert_context(fields, call.context, call.api)
        return fields, self.edit(fields, call)

    def original_fields(self, call: Call) -> Fields:
        """The client's body under `protocol: original`: untouched but for what the configuration asks."""
        fields = self._mapped(call)
        if call.context is not None:
            self.insert_context_original(fields, call)
        return fields

    def _mapped(self, call: Call) -> Fields:
        fields = dict(call.body or {})
        if call.upstream_model is not None and call.upstream_model != jsontext.peek(fields.get("model", NULL)):
            fields["model"] = jsontext.raw(call.upstream_model)
        return fields


_LEAST: Final = Traits()

_ASKING: Final = b'{"stream_options":{"include_usage":true},'
"""Put before the first member, so that all others keep their bytes; `stream` is one of them."""

_VERSION: Final = "2023-06-01"
"""Of Anthropic's API, where the client does not say one."""

_OPENAI: Final = frozenset({"chat", "responses"})


def _is_address(host: str) -> bool:
    return ":" in host or host.replace(".", "").isdecimal()
