"""The SDKs of vendors in the table, to the stand-in and through the core: whole, streamed, tools, errors."""

import asyncio
from collections.abc import Callable, Mapping
import json
from typing import Any

import cerebras.cloud.sdk
import groq
import httpx
from mistralai.client import Mistral
import mistralai.client.errors
import pytest
from volcenginesdkarkruntime import Ark
import volcenginesdkarkruntime._exceptions as ark_errors
import zai

from extproc.providers.vendors import ROWS
from extproc.simulate.options import Options
from extproc.simulate.server import app
from tests.unit.providers.test_vendor_suite import KEY, Gateway


class Direct(httpx.BaseTransport):
    """The stand-in itself, under the vendor's own name."""

    def __init__(self, host: str) -> None:
        self.host = host
        self.vendors = httpx.ASGITransport(app=app(Options()))  # type: ignore[arg-type]

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return asyncio.run(self._ask(request))

    async def _ask(self, request: httpx.Request) -> httpx.Response:
        request.headers["host"] = self.host
        whole = httpx.Request(request.method, request.url, headers=request.headers, content=request.read())
        async with httpx.AsyncClient(transport=self.vendors) as client:
            answer = await client.send(whole)
        names = {name: value for name, value in answer.headers.items() if name != "content-encoding"}
        return httpx.Response(answer.status_code, headers=names, content=answer.content)


def _ark(http: httpx.Client) -> Any:
    return Ark(api_key=KEY, base_url="http://v/api/v3", max_retries=0, http_client=http)


def _zai(http: httpx.Client) -> Any:
    return zai.ZaiClient(api_key=KEY, base_url="http://v/api/paas/v4", max_retries=0, http_client=http)


def _cerebras(http: httpx.Client) -> Any:
    made = cerebras.cloud.sdk.Cerebras
    return made(api_key=KEY, base_url="http://v", max_retries=0, http_client=http, warm_tcp_connection=False)


def _groq(http: httpx.Client) -> Any:
    return groq.Groq(api_key=KEY, base_url="http://v", max_retries=0, http_client=http)


SDKS: Mapping[str, tuple[Callable[[httpx.Client], Any], type[Exception]]] = {
    "groq": (_groq, groq.RateLimitError),
    "cerebras": (_cerebras, cerebras.cloud.sdk.RateLimitError),
    "doubao": (_ark, ark_errors.ArkRateLimitError),
    "zhipuai": (_zai, zai.core.APIReachLimitError),
}
CITY = {"type": "object", "properties": {"city": {"type": "string"}}}
WEATHER = {"type": "function", "function": {"name": "get_weather", "description": "d", "parameters": CITY}}


class _Lenient(httpx.BaseTransport):
    """Our gateway under the vendor's paths: the SDK's base URL is the only thing that a user changes."""

    def __init__(self, type: str) -> None:
        self.gateway = Gateway(ROWS[type])

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        place = "/v1" + request.url.path[request.url.path.index("/chat") :]
        return self.gateway.handle_request(
            httpx.Request(
                request.method, request.url.copy_with(path=place), headers=request.headers, content=request.read()
            )
        )


def client(type: str, *, through: bool) -> Any:
    host = ROWS[type].quirks.url[0].removeprefix("https://")
    return SDKS[type][0](httpx.Client(transport=_Lenient(type) if through else Direct(host)))


@pytest.mark.parametrize("through", [False, True], ids=["directly", "through"])
@pytest.mark.parametrize("type", SDKS)
def test_a_vendors_sdk(type: str, through: bool) -> None:
    ask = client(type, through=through).chat.completions.create
    model = ROWS[type].example
    whole = ask(model=model, messages=[{"role": "user", "content": "hi"}])
    assert whole.choices[0].message.content.endswith("你说：hi")
    chunks = list(ask(model=model, messages=[{"role": "user", "content": "hi"}], stream=True))
    said = [choice.delta.content or "" for chunk in chunks for choice in chunk.choices if choice.delta]
    assert "".join(said).endswith("你说：hi")
    called = ask(model=model, messages=[{"role": "user", "content": "get_weather"}], tools=[WEATHER])
    (call,) = called.choices[0].message.tool_calls
    assert json.loads(call.function.arguments) == {"city": "杭州"}
    with pytest.raises(SDKS[type][1], match="simulated error 429"):
        ask(model=model, messages=[{"role": "user", "content": "[[sim:status=429]]"}])


@pytest.mark.parametrize("through", [False, True], ids=["directly", "through"])
def test_mistrals_sdk(through: bool) -> None:
    transport = _Lenient("mistral") if through else Direct("api.mistral.ai")
    chat = Mistral(api_key=KEY, server_url="http://v", client=httpx.Client(transport=transport)).chat
    model = ROWS["mistral"].example
    ask: Any = {"model": model, "messages": [{"role": "user", "content": "hi"}]}
    whole: Any = chat.complete(**ask)
    assert whole.choices[0].message.content.endswith("你说：hi")
    said = [event.data.choices[0].delta.content or "" for event in chat.stream(**ask) if event.data.choices]
    assert "".join(map(str, said)).endswith("你说：hi")
    with pytest.raises(mistralai.client.errors.SDKError, match="simulated error 429"):
        chat.complete(model=model, messages=[{"role": "user", "content": "[[sim:status=429]]"}])
