"""The stack of docker-compose.yml: what it serves, how it is shut, and what becomes of it when a part goes.

The last tests change the stack; they stand in the order in which an operator does these things.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
import json
import time

import httpx
import openai
import pytest

from tests.contract.processes import until

from .conftest import KEY, PROJECT, Stack, commands

SERVICES = ("extproc", "envoy", "nextchat", "simulate")


@pytest.fixture(scope="module")
def client(stack: Stack) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{stack.gateway}/v1", api_key="any-key", max_retries=0, timeout=60) as client:
        yield client


def chat(client: openai.OpenAI, text: str) -> str:
    """A streamed answer."""
    question = [{"role": "user", "content": text}]
    chunks = client.chat.completions.create(model="gpt-4o-mini", messages=question, stream=True)  # type: ignore[call-overload]
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def comes_back(client: openai.OpenAI, text: str) -> float:
    """How many seconds requests failed."""
    begun = time.monotonic()

    def answered() -> bool:
        try:
            return chat(client, text).endswith(text)
        except openai.APIError:
            return False

    until(answered, "chats work again")
    return time.monotonic() - begun


# As it comes up


def test_the_page_s_own_question_is_answered(stack: Stack) -> None:
    events = [line for line in stack.run(commands("docs/compose.md", "ask")).stdout.splitlines() if line]
    assert events[-1] == "data: [DONE]"
    assert "通义千问" in "".join(json.loads(e[6:])["choices"][0]["delta"].get("content", "") for e in events[:-2])


def test_an_sdk_chats(client: openai.OpenAI) -> None:
    assert chat(client, "容器里的你好").endswith("你说：容器里的你好")


def test_an_error_is_json(client: openai.OpenAI) -> None:
    with pytest.raises(openai.RateLimitError) as caught:
        chat(client, "[[sim:status=429]]")
    assert caught.value.code == "Throttling.RateQuota"


def test_a_client_s_stop_reaches_the_vendor(stack: Stack, client: openai.OpenAI) -> None:
    question = [{"role": "user", "content": "停[[sim:tokens=500,interval=0.1]]"}]
    stream = client.chat.completions.create(model="gpt-4o-mini", messages=question, stream=True)  # type: ignore[call-overload]
    assert next(iter(stream)).choices
    stream.close()
    until(lambda: '"error":"cut"' in stack.logs("extproc"), "the sidecar saw the end")
    [request] = stack.seen("停[[")
    assert not request["finished"]  # else the vendor would still be writing, and be paid for it


@pytest.mark.parametrize("service", SERVICES)
def test_a_part_can_do_little(stack: Stack, service: str) -> None:
    host = stack.inspect(service)["HostConfig"]
    assert host["ReadonlyRootfs"] or service == "nextchat"  # not ours: it may write, where its user may
    assert host["RestartPolicy"]["Name"] == "unless-stopped"
    status = dict(
        line.split(":\t", 1) for line in stack.inside(service, "cat /proc/1/status").splitlines() if ":\t" in line
    )
    assert "0" not in status["Uid"].split()
    assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0
    assert status["NoNewPrivs"] == "1"
    assert stack.inside(service, "touch /etc/x /usr/x || echo refused", check=False).endswith("refused")


def test_only_chat_and_gateway_are_open_and_to_this_machine_only(stack: Stack) -> None:
    opened = {service: stack.inspect(service)["HostConfig"]["PortBindings"] or {} for service in SERVICES}
    assert {service for service, ports in opened.items() if ports} == {"envoy", "nextchat"}
    assert {binding["HostIp"] for ports in opened.values() for found in ports.values() for binding in found} == {
        "127.0.0.1"
    }


def test_the_chat_page_reaches_envoy_alone(stack: Stack) -> None:
    program = """
import socket
for name in "envoy", "extproc", "simulate":
    try:
        print(name, bool(socket.getaddrinfo(name, 1)))
    except OSError:
        print(name, False)
"""
    assert stack.python("nextchat", program).split() == ["envoy", "True", "extproc", "False", "simulate", "False"]


def test_the_sidecar_has_no_port_but_for_its_health_and_metrics(stack: Stack) -> None:
    listening = [line.split() for line in stack.inside("extproc", "cat /proc/net/tcp").splitlines()[1:]]
    own = {address for _, address, _, state, *_ in listening if state == "0A" and not address.startswith("0B00007F")}
    # 127.0.0.1:8081, its health, and 0.0.0.0:9464, its metrics for Prometheus; Envoy asks through the socket
    assert own == {"0100007F:1F91", "00000000:24F8"}


# As parts of it go


@pytest.mark.parametrize("service", ["extproc", "envoy"])
def test_what_is_killed_and_started_again_serves_again(stack: Stack, client: openai.OpenAI, service: str) -> None:
    stack.run(f"docker compose kill {service}")
    with pytest.raises((openai.APIConnectionError, openai.InternalServerError)):
        chat(client, f"{service}在吗？")
    assert stack.seen(f"{service}在吗？") == []  # an error, and never the raw request at the vendor's
    stack.run(f"docker compose start {service}")
    assert comes_back(client, f"{service}回来了") < 120


def test_a_chat_page_that_is_killed_and_started_again_is_there(stack: Stack) -> None:
    stack.run("docker compose kill nextchat && docker compose up --detach --wait nextchat")
    assert httpx.get(stack.page, trust_env=False).status_code == 200


def test_an_envoy_that_crashes_is_started_again(stack: Stack, client: openai.OpenAI) -> None:
    before = stack.inspect("envoy")["State"]["StartedAt"]
    stack.inside("envoy", "kill -SEGV $(grep -l ^envoy /proc/[0-9]*/comm | cut -d/ -f3)", check=False)
    until(lambda: stack.inspect("envoy")["State"]["StartedAt"] != before, "it is started again")
    assert comes_back(client, "又活了") < 120


def test_a_worker_that_is_killed_is_started_again(stack: Stack, client: openai.OpenAI) -> None:
    stack.inside("extproc", "kill -9 $(grep -l extproc.worker /proc/[0-9]*/cmdline | cut -d/ -f3)", check=False)
    assert comes_back(client, "工人回来了") < 120
    stack.healthy("extproc")


# As it is operated


def test_a_configuration_of_one_s_own_is_served_and_followed(stack: Stack, client: openai.OpenAI) -> None:
    def models() -> set[str]:
        return {model.id for model in client.models.list()}

    file = stack.directory / "deploy/config/gateway.yaml"
    try:
        stack.run(commands("docs/compose.md", "own configuration"))
        comes_back(client, "新配置")
        assert "通义千问" in chat(client, "配置")
        assert models() == {"gpt-4o"}
        file.write_text(file.read_text().replace("gpt-4o:", "my-model:"))
        until(lambda: models() == {"my-model"}, "the change is served")
        file.write_text("providers: [")
        until(lambda: "configuration change refused" in stack.logs("extproc"), "the mistake is told")
        assert models() == {"my-model"}
    finally:
        file.unlink()
        stack.run("docker compose restart extproc")
    comes_back(client, "没有配置文件了")


@pytest.mark.parametrize(
    ("name", "mode", "said"),
    [
        ("empty", 0o755, "CONFIG_DIR is ./empty, but there is no gateway.yaml in it"),
        ("closed", 0o700, "/etc/ai-proxy cannot be read by user 65532"),
    ],
)
def test_a_configuration_that_cannot_be_found_is_told(stack: Stack, name: str, mode: int, said: str) -> None:
    (stack.directory / name).mkdir(mode=mode)
    try:
        # Not `--rm`: with it podman 4.3 tells Compose exit code 0.
        done = stack.run(
            f"docker compose run --no-deps --name {PROJECT}-once extproc", check=False, CONFIG_DIR=f"./{name}"
        )
    finally:
        stack.run(f"docker rm --force {PROJECT}-once")
    assert (done.returncode, said in done.stderr) == (2, True), done.stderr


def test_another_vendor_by_one_variable_and_no_answer_is_cut(stack: Stack, client: openai.OpenAI) -> None:
    with ThreadPoolExecutor() as pool:
        under_way = pool.submit(chat, client, "慢慢来[[sim:interval=0.5]]")
        until(lambda: stack.seen("慢慢来"), "the vendor writes")
        stack.run(commands("docs/compose.md", "another vendor"))
        assert under_way.result().endswith("你说：慢慢来")
    stack.healthy("extproc", "envoy")
    assert chat(client, "换了吗？").endswith("换了吗？")
    assert stack.seen("换了吗？")[-1]["vendor"] == "openai"


def test_a_key_is_in_the_sidecar_s_environment_and_nowhere_else(stack: Stack, client: openai.OpenAI) -> None:
    with (stack.directory / ".env").open("a") as file:
        file.write(f"\nOPENAI_API_KEY={KEY}\n")
    stack.run("docker compose --profile simulate up --detach --wait")
    assert KEY in json.dumps(stack.inspect("extproc"))
    for service in ("envoy", "nextchat", "simulate"):
        assert KEY not in json.dumps(stack.inspect(service)), service
    assert stack.inside("envoy", "cat /run/ai-proxy/* 2>/dev/null | wc -c", check=False) != "0"
    shared = stack.inside("extproc", "cat /run/ai-proxy/*.yaml /run/ai-proxy/*.json", check=False)
    assert "api.openai.com" in shared
    assert KEY not in shared + stack.logs()


def test_a_missing_key_is_told(stack: Stack) -> None:
    stack.run("docker compose --profile simulate rm --stop --force simulate")
    stack.run("docker compose up --detach extproc", DEFAULT_AI_SERVICE="moonshot")
    message = "names moonshot, but MOONSHOT_API_KEY is not set"
    until(lambda: stack.logs("extproc").count(message) > 1, "it is said, and said again")
    assert stack.inspect("extproc")["State"]["Health"]["Status"] != "healthy"
