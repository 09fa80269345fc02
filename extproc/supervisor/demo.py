"""What a person sees after `extproc run`: one streamed chat, and lines to paste."""

import aiohttp
import msgspec

from extproc.config.config import Config
from extproc.exchange import routing
from extproc.text import sse

_QUESTION = "用一句话介绍你自己。"


def _key(config: Config, *, shown: bool = False) -> str:
    """A bearer token that the last route takes, which is the default one where there is any. `shown`: a secret that
    it may be is not for the screen."""
    if config.clients:
        return "YOUR_CLIENT_KEY"
    match = config.effective_routes[-1].match
    wanted = match.headers.get("authorization", "").removeprefix("Bearer ")
    if (
        shown
        and wanted
        and wanted not in {name for route in config.effective_routes for name in (route.name, route.provider)}
    ):
        return "YOUR_KEY"
    return wanted or (*match.ingress, "any-key")[0]


def _model(config: Config) -> str:
    """A name that the last route's provider takes."""
    provider = config.by_id[routing.first_step(config.effective_routes[-1], 0).provider]
    if provider.model_mapping.default:
        return "gpt-4-turbo"
    return (*(provider.names or ()), provider.example_model)[0]


def for_machines(base: str, config: Config) -> dict[str, str]:
    """What the banner says, where a program reads it."""
    return {"base_url": f"{base}/v1", "model": _model(config), "key": _key(config, shown=True)}


def banner(base: str, config: Config, console: str = "") -> str:
    """Lines for a gateway at `base` (`http://host:port`), ready to paste: a Python prompt wants them at the left edge,
    and an empty line where a `for` ends. `console`: its address, where there is one."""
    page = f"Console:  {console}\n" if console else ""
    key, model = _key(config, shown=True), _model(config)
    return f"""
Base URL: {base}/v1        (Ctrl-C stops)
{page}
curl -N {base}/v1/chat/completions -H 'Content-Type: application/json' -H 'Authorization: Bearer {key}' \\
  -d '{{"model": "{model}", "stream": true, "messages": [{{"role": "user", "content": "你好"}}]}}'

from openai import OpenAI
client = OpenAI(base_url="{base}/v1", api_key="{key}")
for chunk in client.chat.completions.create(
    model="{model}", messages=[{{"role": "user", "content": "你好"}}], stream=True
):
    print(chunk.choices[0].delta.content or "", end="", flush=True)

"""


async def chat(base: str, config: Config) -> None:
    """Print one streamed chat through the gateway, piece by piece as it arrives; an error is printed, not raised."""
    if config.clients:
        print("\nNo demo chat: clients are configured, and of their keys only hashes are kept here.", flush=True)
        return
    body = {"model": _model(config), "stream": True, "messages": [{"role": "user", "content": _QUESTION}]}
    print(f"\nPOST {base}/v1/chat/completions\n> {_QUESTION}\n< ", end="", flush=True)
    decoder = sse.Decoder()
    headers = {"authorization": f"Bearer {_key(config)}"}
    try:
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{base}/v1/chat/completions", json=body, headers=headers) as answer,
        ):
            if answer.status != 200:
                print(f"{answer.status} {await answer.text()}", flush=True)
                return
            async for chunk in answer.content.iter_any():
                for event in decoder.feed(chunk):
                    print(_text(event), end="", flush=True)
    except aiohttp.ClientError as error:
        print(f"[cut: {error}]", end="")
    print(flush=True)


def _text(event: sse.Event) -> str:
    if event.data in (b"", b"[DONE]"):
        return ""
    document = msgspec.json.decode(event.data)
    if "error" in document:
        return str(document["error"])
    return "".join(choice["delta"].get("content") or "" for choice in document["choices"])
