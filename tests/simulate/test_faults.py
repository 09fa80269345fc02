"""Every marker does what its table says, and the wire form is the vendor's to the byte."""

from concurrent.futures import ThreadPoolExecutor
import datetime
import gzip
import itertools
import json
from pathlib import Path
import ssl
import time
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
import httpx
import pytest

from extproc.simulate import Options, faults
from tests.contract.processes import PATIENCE, until

from .conftest import KEY, Start

BEARER = {"authorization": f"Bearer {KEY}"}
TEXT = "/api/v1/services/aigc/text-generation/generation"
OPENAI = "/v1/chat/completions"


def native(http: httpx.Client, text: str, **parameters: Any) -> httpx.Response:
    body = {
        "model": "qwen-plus",
        "input": {"messages": [{"role": "user", "content": text}]},
        "parameters": {"result_format": "message", "incremental_output": True, **parameters},
    }
    headers = {**BEARER, "x-dashscope-sse": "enable", "accept": "text/event-stream"}
    return http.post(TEXT, headers=headers, json=body)


def openai(http: httpx.Client, text: str, **given: Any) -> httpx.Response:
    messages = [{"role": "user", "content": text}]
    return http.post(OPENAI, headers=BEARER, json={"model": "gpt-4o", "messages": messages, "stream": True, **given})


def data(answer: httpx.Response) -> list[Any]:
    rows = [line[5:].strip() for line in answer.text.lstrip("\ufeff").splitlines() if line.startswith("data:")]
    return [row if row == "[DONE]" else json.loads(row) for row in rows]


def contents(answer: httpx.Response) -> list[str]:
    return [row["output"]["choices"][0]["message"]["content"] for row in data(answer)]


def test_native_frames_to_the_byte(http: httpx.Client) -> None:
    answer = native(http, "x", max_tokens=1)
    assert answer.headers["content-type"] == "text/event-stream;charset=UTF-8"
    first, last, rest = answer.text.split("\n\n")
    assert rest == ""
    assert first.startswith('id:1\nevent:result\n:HTTP_STATUS/200\ndata:{"output":{"choices":[{"message":{"role":')
    assert '"finish_reason":"null"' in first
    assert last.startswith("id:2\nevent:result\n:HTTP_STATUS/200\ndata:{")
    assert '"content":""' in last
    assert '"finish_reason":"length"' in last
    assert all("usage" in row for row in data(answer))


def test_openai_stream_ends_with_done(http: httpx.Client) -> None:
    assert openai(http, "x").text.endswith("data: [DONE]\n\n")


def test_answers_are_deterministic(http: httpx.Client) -> None:
    assert native(http, "同").content == native(http, "同").content


@pytest.mark.parametrize("ask", [native, openai])
def test_status(http: httpx.Client, ask: Any) -> None:
    answer = ask(http, "[[sim:status=429,retry_after=7]]")
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "7")
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("marker", "qwen", "other"),
    [
        ("status=503@qwen", 503, 200),
        ("status=503@openai", 200, 503),
        ("html@openai", 200, 502),
        ("status=429@qwen,status=500@openai", 429, 500),
        ("retry_after=3 @ qwen", 429, 200),
        ("inspect@deepseek", 200, 200),
        ("status=503@qwn", 400, 400),
        ("status=503@", 400, 400),
        ("@qwen", 400, 400),
        ("nonsense@openai", 400, 400),
    ],
)
def test_a_marker_for_one_vendor(http: httpx.Client, marker: str, qwen: int, other: int) -> None:
    asked = f"[[sim:{marker}]]"
    assert [ask(http, asked).status_code for ask in (native, openai)] == [qwen, other]


@pytest.mark.parametrize("ask", [native, openai])
def test_html_and_garbage(http: httpx.Client, ask: Any) -> None:
    page = ask(http, "[[sim:html=503]]")
    assert (page.status_code, page.headers["content-type"]) == (503, "text/html")
    garbage = ask(http, "[[sim:garbage]]")
    assert garbage.status_code == 200
    with pytest.raises(ValueError, match="Expecting"):
        garbage.json()


def test_error_frames(http: httpx.Client) -> None:
    events = native(http, "[[sim:error_frame=429]]").text.strip().split("\n\n")
    assert "event:error\n:HTTP_STATUS/429\ndata:{" in events[-1]
    assert json.loads(events[-1].rpartition("data:")[2])["code"] == "Throttling.RateQuota"
    rows = data(openai(http, "[[sim:error_frame]]"))
    assert rows[0]["choices"]
    assert rows[-1]["error"]["message"]
    whole = openai(http, "[[sim:error_frame=503]]", stream=False)
    assert whole.status_code == 503


@pytest.mark.parametrize(("ask", "given"), [(native, {}), (openai, {}), (openai, {"stream": False})])
def test_cut(http: httpx.Client, ask: Any, given: dict[str, bool]) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        ask(http, "[[sim:cut]]", **given)


@pytest.mark.parametrize("ask", [native, openai])
def test_end(http: httpx.Client, ask: Any) -> None:
    text = ask(http, "[[sim:end]]").text
    assert text
    assert '"stop"' not in text
    assert "[DONE]" not in text


@pytest.mark.parametrize("ask", [native, openai])
def test_gzip(http: httpx.Client, ask: Any) -> None:
    answer = ask(http, "[[sim:gzip]]")
    assert answer.headers["content-encoding"] == "gzip"
    assert "data:" in answer.text


def test_dashscope_compresses_for_whoever_accepts_it(http: httpx.Client) -> None:
    body = {"model": "qwen-plus", "input": {"prompt": "x"}}
    for coding, expected in (("gzip", "gzip"), ("identity", None)):
        answer = http.post(TEXT, headers={**BEARER, "accept-encoding": coding}, json=body)
        assert answer.headers.get("content-encoding") == expected
        assert answer.json()["output"]["text"]


@pytest.mark.parametrize("ask", [native, openai])
def test_sizes_do_not_change_the_bytes(http: httpx.Client, ask: Any) -> None:
    def quoted(marker: str) -> str:
        body = ask(http, f"字节{marker}").text
        return "".join(part for part in body.split('"') if "-" not in part)  # ids follow the request

    assert quoted("[[sim:chunk=3]]") == quoted("")
    whole = quoted("")
    assert quoted("[[sim:crlf]]").replace("\r\n", "\n") == whole
    assert quoted("[[sim:cr]]").replace("\r", "\n") == whole
    assert quoted("[[sim:bom]]") == "\ufeff" + whole


def test_chunk_writes_small_pieces(http: httpx.Client) -> None:
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "[[sim:chunk=3]]"}], "stream": True}
    with http.stream("POST", OPENAI, headers=BEARER, json=body) as answer:
        assert max(len(piece) for piece in answer.iter_raw()) <= 3


def test_native_forms(http: httpx.Client) -> None:
    cumulative = contents(native(http, "[[sim:cumulative]]"))
    assert all(b.startswith(a) for a, b in itertools.pairwise(cumulative))
    assert data(native(http, "[[sim:old]]"))[-1]["output"] == {"text": "", "finish_reason": "stop"}
    assert "\n\n" not in native(http, "[[sim:noblank]]").text
    assert data(native(http, "[[sim:done]]"))[-1] == "[DONE]"
    assert len(contents(native(http, "[[sim:tokens=200]]"))) == 201
    assert len(contents(native(http, "[[sim:big=2000]]"))[-2]) == 2000
    tool = {"type": "function", "function": {"name": "f", "parameters": {"properties": {"a": {"type": "string"}}}}}
    calls = [
        row["output"]["choices"][0]["message"].get("tool_calls")
        for row in data(native(http, "f [[sim:noindex]]", tools=[tool]))
    ]
    assert all("index" not in call for part in calls if part for call in part)


@pytest.mark.parametrize("ask", [native, openai])
def test_badjson(http: httpx.Client, ask: Any) -> None:
    with pytest.raises(json.JSONDecodeError):
        data(ask(http, "[[sim:badjson]]"))


def test_azure_inspection_has_its_inner_error(http: httpx.Client) -> None:
    path = "/openai/deployments/d/chat/completions?api-version=2024-10-21"
    body = {"messages": [{"role": "user", "content": "[[sim:inspect]]"}]}
    answer = http.post(path, headers={"api-key": KEY}, json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "content_filter")
    assert answer.json()["error"]["innererror"]["code"] == "ResponsibleAIPolicyViolation"


def test_delays(http: httpx.Client) -> None:
    began = time.monotonic()
    openai(http, "[[sim:delay=0.2]] [[sim:tokens=5,interval=0.02]]")
    assert time.monotonic() - began > 0.29


def test_markers_are_not_quoted(http: httpx.Client) -> None:
    assert "".join(contents(native(http, "甲[[sim:tokens=90]]乙"))).count("sim:") == 0


def test_the_table_names_every_marker() -> None:
    assert faults.__doc__ is not None
    for name in faults.Faults.__slots__:
        assert f"`{name}" in faults.__doc__


def test_recorder(http: httpx.Client) -> None:
    http.delete("/__sim__/requests")
    openai(http, "记录", stream=False)
    http.post("/v1/files?a=1", headers=BEARER, files={"file": b"x" * 1_000_000}, data={"purpose": "batch"})
    first, second = http.get("/__sim__/requests").json()
    assert (first["vendor"], first["method"], first["path"], first["status"]) == ("openai", "POST", OPENAI, 200)
    assert first["body"]["messages"][0]["content"] == "记录"
    assert first["headers"]["authorization"] == f"Bearer {KEY}"
    assert until(lambda: http.get("/__sim__/requests").json()[0]["finished"], "it is over")
    assert http.get("/__sim__/requests", params={"mark": "记录"}).json() == [first]
    assert (second["query"], second["size"] > 1_000_000, list(second["body"])) == ("a=1", True, ["base64"])


def test_a_client_that_leaves_is_noticed(http: httpx.Client) -> None:
    http.delete("/__sim__/requests")
    body = {"model": "gpt-4o", "stream": True}
    body["messages"] = [{"role": "user", "content": "[[sim:tokens=1000,interval=0.05]]"}]
    with http.stream("POST", OPENAI, headers=BEARER, json=body) as answer:
        next(answer.iter_raw())

    def over() -> bool:
        [entry] = http.get("/__sim__/requests").json()
        assert entry["status"] == 200
        return entry["finished"] is False

    until(over, "it is noticed")


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
def test_what_is_held_waits_for_its_release(http: httpx.Client, stream: bool) -> None:
    http.delete("/__sim__/requests")
    with ThreadPoolExecutor(1) as pool:
        for _ in range(2):  # a release is for those that are here
            answer = pool.submit(openai, http, "held [[sim:hold]]", stream=stream)
            until(lambda: [e["status"] for e in http.get("/__sim__/requests").json()] == [200], "it is there")
            with pytest.raises(TimeoutError):
                answer.result(0.1)
            assert http.post("/__sim__/release").json() == {"released": True}
            assert answer.result(PATIENCE).status_code == 200
            http.delete("/__sim__/requests")


def test_options(start: Start) -> None:
    sim = start(Options(blank_lines=False, chunk_size=5, interval=0.001, latency=0.1))
    with httpx.Client(base_url=sim.url, trust_env=False, timeout=PATIENCE) as http:
        began = time.monotonic()
        answer = native(http, "x")
        assert time.monotonic() - began > 0.1
        assert "\n\n" not in answer.text
        assert gzip.compress(answer.content)


def test_tls(start: Start, tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (tmp_path / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (tmp_path / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    sim = start(Options(tls_cert=str(tmp_path / "cert.pem"), tls_key=str(tmp_path / "key.pem")))
    context = ssl.create_default_context(cafile=str(tmp_path / "cert.pem"))
    with httpx.Client(
        base_url=f"https://localhost:{sim.port}", trust_env=False, verify=context, timeout=PATIENCE
    ) as http:
        assert openai(http, "x").status_code == 200
        assert http.get("/__sim__/tls").json() == {"server_names": ["localhost"]}
