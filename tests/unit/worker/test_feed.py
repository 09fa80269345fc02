"""What a worker tells the console: rows when it is asked, and traces of the console's own chats alone."""

import json
import time

import pytest

from extproc.exchange.states import Record
from extproc.terms.agreed import CLIENT_ATTRIBUTE, PROBE_PATH
from extproc.terms.events import Answer, Forward, RequestBody, RequestHeaders, ResponseBody, ResponseHeaders
from extproc.worker.account import Clock
from extproc.worker.channel import Traced
from extproc.worker.feed import RING, Feed
from extproc.worker.trace import MOST

KEY = "sk-PLANTED-key-a1b2"
HEAD = {":method": "POST", ":authority": "gateway", ":path": "/v1/chat/completions", "authorization": "Bearer mine"}


class Talk:
    def __init__(self, **more: object) -> None:
        self.record = Record(method="POST", path="/v1/chat/completions", complete=True)
        for name, value in more.items():
            setattr(self.record, name, value)
        self.clock = Clock(time.monotonic())


def test_what_ended_since_is_told_with_what_is_under_way() -> None:
    feed = Feed()
    talks = [Talk(model=f"m{n}") for n in range(3)]
    for talk in talks:
        feed.begun(talk)
    feed.over(talks[0])
    seen = feed.seen(0, 10)
    assert ([r.model for r in seen.rows], seen.ended) == (["m0"], 1)
    assert ([r.model for r in seen.under_way], seen.open) == (["m1", "m2"], 2)
    feed.over(talks[1])
    assert [r.model for r in feed.seen(seen.ended, 10).rows] == ["m1"]
    assert [r.model for r in feed.seen(0, 1).rows] == ["m1"]


def test_what_nobody_asks_for_is_bounded_and_counted() -> None:
    feed = Feed()
    for _ in range(RING * 2):
        feed.over(Talk())
    seen = feed.seen(0, RING * 2)
    assert (len(seen.rows), seen.ended) == (RING, RING * 2)


def test_probes_and_what_we_never_saw_are_no_rows() -> None:
    feed = Feed()
    for talk in (Talk(path=PROBE_PATH), Talk(path="")):
        feed.over(talk)
    assert feed.seen(0, 9).ended == 0


def test_names_are_bounded_and_keys_masked() -> None:
    feed = Feed()
    feed.over(Talk(model="m" * 10_000, error="e" * 10_000, client="c" * 300, token=KEY))
    [row] = feed.seen(0, 9).rows
    assert (len(row.model or ""), len(row.error or ""), row.key) == (200, 200, "sk-…a1b2")


def head(mark: str, **attributes: str) -> RequestHeaders:
    return RequestHeaders({**HEAD, "x-ai-console": mark}, False, attributes)


@pytest.mark.parametrize("mark", ["", "wrong.x", "TOKEN2.x", ".x", "TOKE.x"])
def test_nobody_else_s_chat_is_traced(mark: str) -> None:
    assert Feed("TOKEN").trace(head(mark)) is None


def test_without_a_console_nothing_is_traced() -> None:
    assert Feed("").trace(head(".x")) is None
    assert Feed("").trace(head("")) is None


def test_a_later_attempt_is_known_by_the_client_s_own_head() -> None:
    kept = json.dumps({"x-ai-console": "TOKEN.t1"})
    event = RequestHeaders(HEAD, False, {CLIENT_ATTRIBUTE: kept})
    assert Feed("TOKEN").trace(event) is not None
    assert Feed("TOKEN").trace(RequestHeaders(HEAD, False, {CLIENT_ATTRIBUTE: '["x-ai-console"]'})) is None


def told(*steps: tuple[object, object]) -> Traced:
    reports: list[Traced] = []
    feed = Feed("TOKEN", reports.append)
    trace = feed.trace(head("TOKEN.t1"))
    assert trace is not None
    trace.note(head("TOKEN.t1"), Forward())
    for event, reply in steps:
        trace.note(event, reply)  # type: ignore[arg-type]
    feed.traced(trace, Talk(), KEY)
    [report] = reports
    return report


def test_a_chat_of_ours_is_told_without_its_key() -> None:
    sent = Forward(
        {":path": f"/compatible/chat?key={KEY}", ":authority": "vendor", "authorization": f"Bearer {KEY}"},
        ("x-ai-console",),
        f'{{"a": 1, "k": "{KEY}"}}'.encode(),
    )
    traced = told(
        (RequestBody(b'{"a": 0}'), sent),
        (
            ResponseHeaders({":status": "200", "x-echo": KEY, "x-ratelimit-remaining-tokens": "99999999"}, False),
            Forward(),
        ),
        (ResponseBody(b"one ", False), Forward(body=b"1")),
        (ResponseBody(f"two {KEY}".encode(), True), Forward(body=b"2")),
    )
    assert KEY not in repr(traced)
    assert traced.sent_url == "vendor/compatible/chat?key=sk-…a1b2"
    assert dict(traced.sent_headers) == {"authorization": "Bearer sk-…a1b2"}
    assert traced.sent_body.decode() == '{"a": 1, "k": "sk-…a1b2"}'
    assert (traced.said_status, traced.said_body) == ("200", "one two sk-…a1b2".encode())
    assert dict(traced.said_headers) == {"x-echo": "sk-…a1b2", "x-ratelimit-remaining-tokens": "99999999"}


def test_what_was_answered_here_was_sent_to_nobody() -> None:
    traced = told((RequestBody(b"{"), Answer(400, b"{}")))
    assert (traced.sent_method, traced.sent_headers, traced.sent_body) == ("", [], b"")


def test_what_goes_unchanged_is_what_the_client_sent_and_what_is_not_seen_is_not_claimed() -> None:
    traced = told((RequestBody(b"{}"), Forward()), (ResponseHeaders({":status": "200"}, False), Forward()))
    assert (traced.sent_body, traced.said_body) == (b"{}", None)


def test_a_signature_is_hidden_whole() -> None:
    signed = "AWS4-HMAC-SHA256 Credential=AKIDPLANTED/2026, SignedHeaders=host, Signature=" + "a" * 64
    traced = told((RequestBody(b"{}"), Forward({"authorization": signed, "x-amz-security-token": "PLANTED" * 9})))
    assert "PLANTED" not in repr(traced.sent_headers)


def test_bodies_are_bounded() -> None:
    traced = told((RequestBody(b"x" * (MOST + 1)), Forward()))
    assert (len(traced.sent_body), traced.cut) == (MOST, True)
