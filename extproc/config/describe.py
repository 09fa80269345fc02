"""The configuration in words (`extproc check`) and as a JSON schema for editors (`extproc schema`).

Rule: pure, and no secret: of a key at most the last four characters.
"""

from collections.abc import Collection, Iterator
from typing import Any
from urllib.parse import urlsplit

from pydantic.json_schema import GenerateJsonSchema

from extproc.config.clients import Client
from extproc.config.config import Config, Group, Route, Step
from extproc.config.load import Loaded
from extproc.config.masking import SECRET_NAME, is_public, mask, one_line
from extproc.config.quotas import CURRENCIES, Limit
from extproc.fronts.registry import FRONTS
from extproc.providers import Azure, OpenAI, Provider, Qwen
from extproc.providers.blocks import Recycle
from extproc.providers.vendors import KEYS, VENDOR_KEYS
from extproc.text.patterns import ModelMapping, NamePatterns


def describe(loaded: Loaded) -> str:
    """What was understood: routes, providers, limits and notes, as lines of text. Keys are redacted."""
    config = loaded.config
    shown = {p.id for p in config.providers} | {n for r in config.effective_routes for n in (r.name, *r.match.ingress)}
    routes = [(route.name, "; ".join(_conditions(route, shown)) or "everything") for route in config.effective_routes]
    targets = [_steps(route) for route in config.effective_routes]
    names, matches = max(len(name) for name, _ in routes), max(len(match) for _, match in routes)
    lines = [f"Configuration: {loaded.source}", "", "Routes (the first that matches takes the request)"]
    lines += [
        f"  {name:<{names}}  {match:<{matches}}  -> {target}"
        for (name, match), target in zip(routes, targets, strict=True)
    ]
    lines += ["", "Providers"]
    for provider in config.providers:
        lines.append(f"  {provider.id}: {_kind(provider)}")
        facts = list(_facts(provider, clients=bool(config.clients)))
        lines += [f"    {name:<9} {value}" for name, value in facts]
    if config.clients:
        lines += ["", "Clients (without a valid key of one of them: 401)"]
        width = max(len(client.name) for client in config.clients)
        lines += [f"  {client.name:<{width}}  {'; '.join(_rights(client))}" for client in config.clients]
    if config.limits:
        lines += ["", "Limits of use", *(f"  {limit.scope}: {_limit(limit)}" for limit in config.limits)]
    if config.has_limits:
        shared = f"{config.redis.place}, for all its gateways" if config.redis and config.shares_limits else None
        lines.append(f"  kept in {shared or config.usage.store}; on failure: {config.usage.on_failure}")
    lines += ["", "Limits", f"  JSON body up to {_size(config.max_body_bytes)}"]
    if config.workers is not None:
        lines.append(f"  {config.workers} worker process{'es' if config.workers > 1 else ''}")
    lines += [f"  a worker is replaced when {limit}" for limit in _recycling(config.recycle)]
    if config.cors_origins:
        lines.append(f"  browsers may call from {', '.join(config.cors_origins)}")
    if config.redis is not None:
        lines += ["", "Shared", f"  which keys rest, through {config.redis.place} under {config.redis.key_prefix}"]
    if (traces := config.telemetry.traces) is not None:
        lines += ["", "Traces", f"  {traces.sample:.0%} of the requests, to {traces.endpoint} ({traces.protocol})"]
    if loaded.notes:
        lines += ["", "Notes", *(f"  {note}" for note in loaded.notes)]
    return "".join(f"{one_line(mask(line))}\n" for line in lines)


def _steps(route: Route) -> str:
    """`a`, `a (gpt-4o), then b or c (3:1)`."""

    def named(step: Step) -> str:
        return f"{step.provider} ({step.model})" if step.model else step.provider

    def group(steps: Group) -> str:
        shares = f" {':'.join(str(s.weight) for s in steps)}" if len(steps) > 1 else ""
        return " or ".join(map(named, steps)) + shares

    return ", then ".join(map(group, route.provider or ())) or "(refused)"


def _conditions(route: Route, shown: set[str]) -> Iterator[str]:
    match = route.match
    for name, value in match.headers.items():
        yield f"header {name}: {_header_value(name, value, shown)}"
    if match.hosts:
        yield f"host {' or '.join(match.hosts)}"
    if match.path_prefix:
        yield f"path {match.path_prefix}*"
    if match.models is not None:
        yield f"model {' or '.join(match.models.patterns) or '(none)'}"
    if match.ingress:
        yield f"ingress {' or '.join(match.ingress)}"
    if match.services:
        yield f"service {' or '.join(match.services)}"


def _rights(client: Client) -> Iterator[str]:
    hints = ", ".join(key.hint for key in client.keys)
    yield f"{len(client.keys)} key{'s' if len(client.keys) > 1 else ''}: {hints}"
    yield f"model {' or '.join(client.models.patterns) or '(none)'}" if client.limited else "any model"
    yield f"route {' or '.join(client.routes)}" if client.routes else "any route"
    if client.groups:
        yield f"in {', '.join(client.groups)}"
    if client.limits:
        yield ", ".join(map(_limit, client.limits))


def _limit(limit: Limit) -> str:
    return limit.said + (" (shadow)" if limit.shadow else "")


def is_credential(name: str, value: str, shown: Collection[str]) -> bool:
    """Whether a header's value is a secret: a client's key, not one of the names of services that are `shown`."""
    return bool(SECRET_NAME.search(name)) and value.rpartition(" ")[2] not in shown


def _header_value(name: str, value: str, shown: set[str]) -> str:
    if not is_credential(name, value, shown):
        return value
    scheme, _, credential = value.rpartition(" ")
    return f"{scheme} {redact(credential)}".strip()


def redact(secret: str) -> str:
    """Enough to tell keys apart, and only where it gives nothing away: `sk-…a1b2` from 12 characters on, else `…`."""
    if len(secret) < 12:
        return "…"
    return f"{'sk-' if secret.startswith('sk-') else ''}…{secret[-4:]}"


def _kind(provider: Provider) -> str:
    if provider.protocol == "original":
        return f"{provider.type}, protocol original: clients speak the vendor's own API"
    if isinstance(provider, Qwen):
        return f"{provider.type}, {'compatible mode' if provider.qwen_enable_compatible else 'native API'}"
    return provider.type


def _fronts(provider: Provider) -> str:
    """Which dialects of clients the vendor speaks itself, and which are converted."""
    passed = [front for front in FRONTS if front in provider.speaks]
    converted = [front for front in FRONTS if front not in provider.speaks]
    ways = {"passed": passed, "converted": converted}
    return "; ".join(f"{', '.join(fronts)} {way}" for way, fronts in ways.items() if fronts)


def _facts(provider: Provider, *, clients: bool) -> Iterator[tuple[str, str]]:
    upstream = provider.upstream
    scheme = "https" if upstream.tls else "http"
    host = f"[{upstream.address}]" if ":" in upstream.address else upstream.address
    sni = f", SNI {upstream.sni}" if upstream.tls else ""
    yield "upstream", f"{scheme}://{host}:{upstream.port} (Host {upstream.authority}{sni})"
    if isinstance(provider, Azure):
        yield "address", _public(provider.azure_service_url)
    elif isinstance(provider, OpenAI):
        yield "address", _public(provider.openai_custom_url)
    if provider.tls.ca_file:
        yield "tls", f"certificates are verified with {provider.tls.ca_file}"
    if provider.tokens:
        count = len(provider.tokens)
        keys = ", ".join(redact(token.get_secret_value()) for token in provider.tokens)
        yield "keys", f"{count}: {keys}"
    else:
        yield "keys", "none: requests go without one" if clients else "none: the client's own goes through"
    if provider.protocol == "openai":
        yield "fronts", _fronts(provider)
    yield "models", ", ".join(provider.names or ()) or "as the vendor lists them"
    if provider.model_mapping:
        pairs = provider.model_mapping.written.items()
        yield "mapping", ", ".join(f"{name} -> {target or '(unchanged)'}" for name, target in pairs)
    if provider.response_model == "upstream":
        yield "answers", "carry the vendor's model names"
    if provider.context is not None:
        context = provider.context
        limits = f"every {context.refresh:g} s, up to {_size(context.max_bytes)}"
        yield "context", f"{_public(context.file_url)}, fetched {limits}"
    for setting in provider.custom_settings:
        fills = "" if setting.overwrite else ", where absent"
        value = setting.value if isinstance(setting.value, (int, float)) else "…"
        yield "setting", f"{setting.name} = {value}{fills}"


def _public(url: str) -> str:
    """A URL without user, password and query, any of which may be a secret; of the query what is none."""
    parts = urlsplit(url)
    pairs = [pair if is_public(pair) else "…" for pair in parts.query.split("&") if pair]
    shown = f"?{'&'.join(dict.fromkeys(pairs))}" if pairs else ""
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl() + shown


def _recycling(recycle: Recycle | None) -> Iterator[str]:
    if recycle is not None and recycle.max_age is not None:
        yield f"it is {recycle.max_age:g} s old"
    if recycle is not None and recycle.max_memory is not None:
        yield f"it holds more than {_size(recycle.max_memory)}"


def _size(count: int) -> str:
    for unit, size in (("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count % size == 0:
            return f"{count // size} {unit}"
    return f"{count} bytes"


# The schema

_DESCRIPTIONS = {
    "answerHeaders": "Whether answers say in x-ai-provider and x-ai-attempts who gave them, and in x-ai-dropped what "
    "of the request that vendor has no word for.",
    "attempts": "How often a request is tried, the first time included; by default once per step, twice at least.",
    "backoff": "How long a retry waits.",
    "base": "The first wait before a retry.",
    "Backoff.max": "The longest wait before a retry.",
    "retryAfterMax": "The longest retry-after that is waited for where nobody else can be asked.",
    "baseEjectionTime": "How long a vendor is left out, times how often it was.",
    "consecutive5xx": "Failures in a row after which a vendor is left out for a while; 0: never.",
    "circuitBreakers": "How much of the vendor is used at a time; more is refused at once.",
    "maxConcurrentRequests": "How many requests each worker process has at a time; more are refused at once.",
    "maxConnections": "Connections to the vendor at a time.",
    "maxPendingRequests": "Requests that wait for a connection.",
    "maxRequests": "Requests at the vendor at a time.",
    "cooldownDuration": "Milliseconds that a failing key is set aside; 0: until health checks succeed.",
    "enabled": "Whether this is in force.",
    "failover": "When a failing key is set aside (Higress).",
    "failoverOnStatus": "Expressions that a failure's whole status matches.",
    "failureThreshold": "Failures in a row after which a key is set aside.",
    "firstByteTimeout": "How long an attempt may take until its stream begins.",
    "healthCheckInterval": "Milliseconds between health checks of a key that is set aside.",
    "healthCheckModel": "The model that health checks ask, as clients name it.",
    "healthCheckTimeout": "Milliseconds that a health check may take.",
    "idleTimeout": "How long an idle connection to the vendor is kept: less than the vendor keeps it.",
    "maxRetries": "How often a refused request is tried again.",
    "on": "What is tried again: statuses, 5xx, connect, reset, timeout.",
    "outlierDetection": "When Envoy leaves the vendor out in favour of others.",
    "perTryTimeout": "How long an attempt may take for a whole answer.",
    "retry": "When and how often a request is tried again, before its answer has begun.",
    "retryOnFailure": "Whether a refused request is tried again with another key (Higress).",
    "retryOnStatus": "Expressions that a refusal's whole status matches.",
    "retryTimeout": "Milliseconds that each attempt may take.",
    "streamIdleTimeout": "How long an exchange may be silent before Envoy ends it.",
    "successThreshold": "Health checks that must succeed before a key is used again.",
    "Step.model": "What this provider is asked for, whatever the client said; modelMapping is not applied.",
    "Step.provider": "The id of a provider.",
    "redis": "A Redis or Valkey server through which processes and machines share which keys rest.",
    "Redis.url": "redis://[[USER]:PASSWORD@]HOST:PORT/DB, rediss://… or unix:///PATH?db=N; ${NAME}, alone or within "
    "it, comes from the environment.",
    "Redis.timeout": "How long the server may take to answer: seconds, or text such as 500ms.",
    "keyPrefix": "How all names in Redis begin.",
    "weight": "The provider's share of the requests within its group.",
    "apiToken": "One key, as in apiTokens.",
    "apiTokens": "The vendor's keys, one chosen per request: the key itself, ${NAME} from the environment (a comma "
    "separated list) or file:PATH of a secret file.",
    "azureServiceUrl": "https://R/openai/deployments/D/chat/completions?api-version=V, "
    "https://R/openai/deployments/D?api-version=V, https://R?api-version=V or https://R/openai/v1; ${NAME} "
    "in the query comes from the environment.",
    "caFile": "A PEM bundle that replaces the system's certificate authorities; relative to this file.",
    "clients": "Who may come in; without it everybody who reaches the port.",
    "context": "A text that goes into every chat as a system message before the first other message.",
    "corsOrigins": "Origins that browsers may call from; preflights are answered by Envoy.",
    "customSettings": "Values put into requests, in this order, before they are converted.",
    "endpoint": "Where to connect instead of the vendor's address: scheme, host and port.",
    "fileUrl": "Where the text is: http://, https:// or file://; ${NAME} in the query, or as user or password, "
    "comes from the environment.",
    "families": "What is known of models, by their vendor's name (exact, with * for any text, or ~regex); it replaces "
    "what the built-in table says of them.",
    "fixedTemperatureModels": "The vendor's names of models that are not sent sampling parameters; replaces "
    "what is known.",
    "headers": "Header names and their exact values.",
    "hosts": "Host names without port, in any case; * at one end stands for any text: *.example.com, example.*, *.",
    "id": "What routes call this provider; its type if absent.",
    "ingress": "Names that a client puts in its bearer token, or Envoy's route names; NAMESPACE/NAME of an HTTPRoute.",
    "key": "The client's key, or several: the key itself, sha256: and the 64 hexadecimal digits of its hash, ${NAME} "
    "from the environment or file:PATH of a secret file.",
    "keyFile": "A file with the client's keys, one per line, each itself or as sha256:…; relative to this file.",
    "match": "What a request must have; everything that is said must hold. Without it: every request.",
    "maxAge": "How long a worker lives: seconds, or text such as 500ms, 30s, 5m, 1h.",
    "maxMemory": "What a worker may hold: bytes, or text such as 512MiB. Linux only.",
    "maxBodyBytes": "The longest JSON body that is read.",
    "maxBodyValues": "How many JSON values a body may have, at all depths; the token ids of embeddings do not count.",
    "maxEventBytes": "The longest event of a stream that is read, in bytes.",
    "maxBytes": "The longest text that is taken, in bytes.",
    "mode": "auto: name is one of max_tokens, temperature, top_p, top_k, seed; raw: a dotted path.",
    "modelMapping": "The client's model name to the vendor's: exact names, prefix*, ~regex, and * for the rest. "
    "An empty target keeps the client's name.",
    "models": "The model names that clients may use, as GET /v1/models lists them.",
    "Match.models": "Model names: exact, with * for any text, or ~regex.",
    "claudeVersion": "The API's version where the client names none.",
    "claudeCodeMode": "Whether the keys are tokens of Claude Code's login, not API keys.",
    "apiVersion": "The first segment of the vendor's paths.",
    "geminiSafetySetting": "Category → threshold, sent with every chat.",
    "geminiThinkingBudget": "Tokens of thinking where the client says nothing; 0: none, -1: as the model likes.",
    "vertexAuthKey": "A service account's JSON: ${NAME} from the environment or file:PATH of a secret file.",
    "vertexProjectId": "The project; needed with vertexAuthKey.",
    "vertexRegion": "global, us, eu or a region.",
    "vertexClaudeVersion": "anthropic_version in the body of Claude's requests.",
    "vertexAuthServiceName": "Higress' key, accepted and not needed.",
    "vertexTokenRefreshAhead": "Higress' key, accepted and not needed.",
    "awsRegion": "The region, such as us-east-1.",
    "awsAccessKey": "With awsSecretKey: requests are signed; apiTokens win.",
    "awsSecretKey": "The other half of awsAccessKey.",
    "awsSessionToken": "The token of a session's keys.",
    "bedrockAdditionalFields": "Goes into additionalModelRequestFields of every chat.",
    "promptCacheRetention": "Whether cache points are set for Claude and Nova, and for how long.",
    "bedrockPromptCachePointPositions": "Where cache points are set: systemPrompt, lastUserMessage, lastMessage.",
    "moonshotFileId": "An uploaded file whose text goes in as a system message.",
    "multimodalModels": "The vendor's names of models that answer on the multimodal endpoint; replaces what is known.",
    "Client.models": "The names that it may ask for: exact, with * for any text, or ~regex.",
    "Client.name": "The client's name in logs and metadata.",
    "Client.routes": "The names of the routes that it may use; all if absent.",
    "Route.name": "The route's name in logs and metrics.",
    "CustomSetting.name": "What to set: see mode.",
    "openaiCustomUrl": "Another server that speaks OpenAI's API: a base URL or the full URL of one API; ${NAME} in "
    "the query comes from the environment.",
    "overwrite": "false: only where the request does not say it.",
    "pathPrefix": "How the raw path begins.",
    "protocol": "openai: clients speak OpenAI's API. original: they speak the vendor's own.",
    "Route.provider": "The id of the provider that takes the request; or steps that are tried in order, each a "
    "provider, or a list of providers with weights.",
    "Config.provider": "A single provider that takes everything, as in a Higress plugin configuration.",
    "activeProviderId": "The one of providers that takes everything, as in a Higress plugin configuration.",
    "providers": "The vendors.",
    "qwenDomain": "DashScope's host name, such as dashscope-intl.aliyuncs.com.",
    "qwenEnableCompatible": "true: DashScope's OpenAI-compatible API; false: its native one.",
    "qwenEnableSearch": "Lets the model search the web unless the client says otherwise; native API only.",
    "qwenFileIds": "Uploaded files that qwen-long gets to see; native API only, not together with context.",
    "reasoningContentMode": "What becomes of the model's thinking: kept apart, dropped, or put before the answer.",
    "messagesApi": "Whether /v1/messages passes to the vendor or becomes a chat; by default it passes where it can.",
    "chatApi": "Whether a chat goes as one (pass) or as a request of the Responses API (responses); by default what a "
    "model takes there alone goes there, such as tools on gpt-6-astra, and is answered as a chat.",
    "responsesApi": "Whether /v1/responses passes to the vendor or becomes a chat; by default it passes where it can.",
    "Provider.usage": "How tokens are counted.",
    "UsageOfPassed.passed": "In answers that need no reading: with the least work that is safe, by reading each event "
    "here, by Envoy's own filter for it (streams only), or not at all.",
    "recordUsage": "Of before usage; true: answers are read to count tokens even where nothing else needs it; false: "
    "nothing is counted.",
    "prices": "What a provider (by its id) takes for a model: the vendor's name, or a pattern with * or ~regex.",
    "pricesFile": "A table of LiteLLM's (model_prices_and_context_window_backup.json) for all models that prices does "
    "not name, in place of the built-in one.",
    "Price.input": "A million tokens of input.",
    "Price.output": "A million tokens of output.",
    "cachedInput": "A million tokens of input that were read from a cache; else as input.",
    "cacheWrite": "A million tokens of input that were written to a cache; else as input.",
    "cacheWriteHour": "The same where they are kept for an hour; else as cacheWrite.",
    "Price.thinking": "A million tokens of thinking; else as output.",
    "inputAudio": "A million tokens of sound in the input; else as input.",
    "outputAudio": "A million tokens of sound in the output; else as output.",
    "PriceTier.input": "As of the price.",
    "PriceTier.output": "As of the price.",
    "PriceTier.thinking": "As of the price.",
    "Price.image": "One image that is made.",
    "Price.second": "A second of sound or film.",
    "Price.characters": "A million characters.",
    "Price.request": "Each exchange.",
    "Price.tiers": "Other rates for longer prompts, the shortest first.",
    "PriceTier.above": "The tokens of the prompt above which these rates hold, for all of its tokens.",
    "Price.currency": "Three letters of ISO 4217.",
    "recycle": "When a worker process is replaced by a new one, one at a time.",
    "refresh": "How often the text is fetched again: seconds, or text such as 500ms, 30s, 5m, 1h.",
    "responseJsonSchema": "Goes into every chat as response_format.",
    "responseModel": "Whose model name answers carry: the one the client asked for, or the vendor's.",
    "routes": "Who takes which requests; the first that matches wins. Without routes the only provider takes all.",
    "serviceName": "Higress' name of the text's server; not needed.",
    "servicePort": "Higress' port of the text's server; not needed.",
    "services": "Names that a client puts in its bearer token, or Envoy's cluster names.",
    "streamOnlyModels": "The vendor's names of models that only stream; replaces what is known.",
    "timeout": "Milliseconds that fetching a context text may take.",
    "tls": "How the vendor's certificate is verified.",
    "type": "The vendor.",
    "value": "Any YAML value.",
    "visionModel": "The vendor's name of the model that takes requests with pictures (or sound) where the one that "
    "they go to does not.",
    "defaultEffort": "The reasoning_effort of requests that say nothing of thinking.",
    "FamilyBlock.path": "Which of DashScope's two native paths answers.",
    "FamilyBlock.thinks": "Whether the model thinks: never, when asked, unless told not to, or always.",
    "FamilyBlock.thinkingBudget": "The largest thinking_budget that it takes.",
    "FamilyBlock.efforts": "The values of reasoning_effort that it takes itself, the lowest first.",
    "FamilyBlock.forcedTools": "Whether it takes a tool_choice that forces a tool while it thinks.",
    "FamilyBlock.context": "Tokens of request and answer together.",
    "FamilyBlock.output": "Tokens of an answer; max_tokens is not sent higher.",
    "FamilyBlock.sees": "What it takes besides text.",
    "FamilyBlock.streamsOnly": "Whether it gives no whole answers.",
    "FamilyBlock.maxTokens": "What its max_tokens counts: the answer alone, or thinking too.",
    "FamilyBlock.fixedSampling": "Whether it refuses sampling parameters other than its own.",
    "quirks": "How the vendor differs from what this version knows of it; what is said here replaces its row's.",
    "Client.groups": "What limits may call it, together with other clients.",
    "Client.limits": "How much it may use, over all that it asks for.",
    "Config.limits": "How much all may use together, or each of them; beside the limits of clients.",
    "Config.usage": "Where it is kept what was used and what is left.",
    "store": "auto (Redis where redis is configured, else a file in the state directory), memory, redis, or the path "
    "of a file; relative to this file.",
    "onFailure": "Requests with limits while the store fails: local (counted in memory, on this machine alone), "
    "refuse (503) or allow.",
    "requests": "How many requests.",
    "tokens": "How many tokens, input and output together.",
    "inputTokens": "How many tokens of input.",
    "outputTokens": "How many tokens of output, thinking included.",
    "concurrent": "How many requests at a time.",
    **{currency: f"How much money, in {currency.upper()}, by prices." for currency in CURRENCIES},
    "per": "In which time: a second, minute or hour (any), a day or month (of the calendar).",
    "zone": "The time zone in which days and months begin, such as Asia/Shanghai; UTC if absent.",
    "shadow": "true: counted and told, but nothing is refused.",
    "warnAt": "The share that is used when answers begin to say so in x-ai-budget, and the log does.",
    "SharedLimit.match": "Which requests count; everything that is said must hold. Without it: all.",
    "each": "What has a limit of its own: each client, route, provider or model; without it all have one together.",
    "LimitMatch.clients": "Names of clients: exact, with * for any text, or ~regex.",
    "LimitMatch.groups": "Names of groups of clients: exact, with * for any text, or ~regex.",
    "LimitMatch.routes": "Names of routes: exact, with * for any text, or ~regex.",
    "LimitMatch.providers": "Ids of providers: exact, with * for any text, or ~regex.",
    "LimitMatch.models": "Names of models, the client's or the vendor's: exact, with * for any text, or ~regex.",
    "url": "The vendor's address, or several of which the first is used: scheme, host and port.",
    "prefix": "What stands in the place of /v1 in the vendor's paths.",
    "auth": "How the key is sent: in Authorization as a bearer or alone (plain), in the header named, or never.",
    "messagesAuth": "How the key is sent to the vendor's Anthropic API.",
    "Quirks.key": "Whether a request needs a key of ours; without one the client's own goes through.",
    "apis": "The APIs that the vendor has, a list, or a mapping to their paths where these differ.",
    "refuses": "Members that it answers 400 for: dropped, and named in x-ai-dropped. messages.name is one in messages, "
    "responses/tool_choice one of the Responses API.",
    "renames": "Members that it has under another name.",
    "clamps": "What numbers may be: min and max, or value for the only one.",
    "beside": "Where a member is there, others that it refuses beside it.",
    "streamTools": "A member that must be true for the arguments of tools to be streamed.",
    "toolsSwitch": "A member that must be true for calls of tools to be told as OpenAI tells them.",
    "messageMembers": "What messages may have; other members are dropped and named.",
    "jsonSchema": "object: it knows response_format json_object only.",
    "toolChoice": "What tool_choice cannot say: none, required, function. The last two become auto.",
    "roles": "What it lacks: developer, system turns after the first (later-system), system at all.",
    "cacheControl": "Whether cache_control is kept (without ttl) or dropped; as it is if absent.",
    "takes": "What few vendors take and this one does, for clients of Messages and Responses.",
    "returnsThinking": "Whether earlier turns must, may or must not carry reasoning_content.",
    "toolIds": "How many letters and digits a tool call's id must have.",
    "thinking": "How it is asked for thinking, and what that is called in answers.",
    "ask": "The members that ask for it; none where it cannot be asked.",
    "efforts": "Its names for levels of reasoning_effort.",
    "adds": "Members that are sent where the client does not say them.",
    "field": "What thinking is called; think: it stands in the content between <think> and </think>.",
    "forced": "false: tools cannot be forced while it thinks.",
    "unasked": "Whether it thinks unless it is told not to.",
    "finish": "Its finish reasons and OpenAI's for them; error for one that is a failure. An empty one stands for "
    "answers that have none, for streams at their [DONE].",
    "usage": "Where streams tell their usage.",
    "UsageForm.at": "The member that is usage, a dotted path.",
    "afterDone": "Whether it comes behind [DONE].",
    "reasoningOutside": "Whether completion_tokens is without what was thought.",
    "errors": "How it tells errors within an answer of status 200.",
    "ErrorForm.at": "The member that says that it is one, a dotted path.",
    "ok": "Values that are no error.",
    "message": "The member with the words.",
    "code": "The member with the code.",
    "status": "The member with an HTTP status.",
    "statuses": "Codes and the statuses that they stand for.",
    "content": "parts: content may be a list of parts, some of them thinking.",
    "byModel": "The same for some of its models, by patterns of their names; the first that matches.",
    "Clamp.min": "The least.",
    "Clamp.max": "The most.",
    "Clamp.value": "The only value.",
    "telemetry": "Under which names metrics are shown, and where they and traces are sent.",
    "semconv": "Whose names the gen_ai metrics have: OpenTelemetry's core conventions, or their new repository's.",
    "Telemetry.models": "Models that metrics show by name, beside those that the rest of the file mentions.",
    "otlp": "Whether metrics are sent by OTLP, where the variables OTEL_EXPORTER_OTLP_… say.",
    "traces": "Where Envoy sends its spans by OTLP.",
    "Traces.endpoint": "The receiver's address: scheme, host and port.",
    "Traces.protocol": "Whether the receiver is spoken to in gRPC or HTTP.",
    "sample": "The share of requests that begin a trace; one that a client began is gone on with.",
    "service": "What this gateway is called in traces.",
    "console": "The page on the admin port that shows what the gateway does, and who may look; false: there is none.",
    "users": "User name to password, or several: the password itself, sha256: and the 64 hexadecimal digits of its "
    "hash, ${NAME} from the environment or file:PATH of a secret file.",
    "Console.token": "What opens the console without a name, or several; written as a password of users is.",
    "oidcHeader": "The header in which a proxy in front says who has logged in there.",
    "proxies": "Networks from whose addresses oidcHeader is believed.",
    "Console.hosts": "Host names, without port, under which browsers may reach the console, beside this machine's own.",
    "gateway": "Where the gateway's own listener is, for the chats of the console: scheme, host and port.",
    "workers": "How many processes serve; read at start. As many as there are cores if absent.",
}


_DESCRIPTIONS |= {key.name: key.about for key in KEYS.values()}


class _Schema(GenerateJsonSchema):
    def encode_default(self, dft: Any) -> Any:
        match dft:
            case NamePatterns():
                return list(dft.patterns)
            case ModelMapping():
                return {}
        return super().encode_default(dft)

    def get_title_from_name(self, name: str) -> str:
        return name  # the key as it is written


def schema() -> dict[str, Any]:
    """The JSON schema of a configuration file, for editors. Documents with a `kind` are Higress', and not described."""
    generated = Config.model_json_schema(schema_generator=_Schema)
    definitions: dict[str, Any] = generated.pop("$defs")
    union = generated["properties"]["providers"]["items"]
    generated["properties"] |= {
        "provider": dict(union),
        "activeProviderId": {"title": "activeProviderId", "type": "string"},
    }
    generated.pop("required")
    generated["anyOf"] = [{"required": ["providers"]}, {"required": ["provider"]}]
    definitions["Config"] = generated
    definitions["Vendor"]["dependentSchemas"] = {
        key: {"properties": {"type": {"enum": [type]}}} for key, type in VENDOR_KEYS.items()
    }
    for title, definition in definitions.items():
        for key, found in definition.get("properties", {}).items():
            text = _DESCRIPTIONS.get(f"{title}.{key}") or _DESCRIPTIONS.get(key)
            if text and "description" not in found:
                found["description"] = text
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "extproc configuration",
        "description": "Native configuration, or a Higress WasmPlugin document of ai-proxy.",
        "$defs": definitions,
        "if": {"required": ["kind"]},
        "then": {"properties": {"kind": {"type": "string"}}},
        "else": {"$ref": "#/$defs/Config"},
    }
