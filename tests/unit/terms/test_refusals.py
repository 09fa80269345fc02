"""Vendors' refusals in any form: their words survive, pages do not; how long they ask to wait is never an error."""

import json
from typing import Any

import pytest

from extproc.terms import pauses
from extproc.terms.refusals import vendor_error

NOW = 1_700_000_000.0
USUAL = "the model vendor answered with status 422"

SAID: list[tuple[Any, str, str | None]] = [
    ({"detail": [{"loc": ["body", "messages"], "msg": "Field required"}]}, "body.messages: Field required", None),
    (
        {"detail": [{"loc": ["body", "a", 0], "msg": "x", "type": "missing"}, {"msg": "y"}]},
        "body.a.0: x; y",
        "missing",
    ),
    ({"detail": "Not Found"}, "Not Found", None),
    ({"detail": {"msg": "m", "code": "c"}}, "m", "c"),
    ({"errors": [{"message": "a", "code": 7}, {"message": "b"}]}, "a; b", "7"),
    ({"errors": ["a", "b"]}, "a; b", None),
    ({"errors": {"message": "m"}}, "m", None),
    ({"error": "text", "code": 40}, "text", "40"),
    ({"error": {"msg": "m", "type": "t"}}, "m", "t"),
    ({"error": {"message": {"message": "nested", "code": "c"}}}, "nested", None),
    ({"error": [{"message": "m"}]}, "m", None),
    ([{"error": {"message": "m", "status": "RESOURCE_EXHAUSTED"}}], "m", None),
    ({"message": {"detail": "deep"}}, "deep", None),
    ({"title": "Bad", "detail": "too long", "type": "https://e.example/x", "status": 422}, "Bad: too long", None),
    ({"title": "Bad", "type": "about:blank"}, "Bad", None),
    ({"error_code": 336003, "error_msg": "m"}, "m", "336003"),
    ({"message": "<html><body>x</body></html>", "detail": "d"}, "d", None),
    ({"error": {"message": "<!DOCTYPE html><title>502</title>"}}, USUAL, None),
    ({"trace": "secret", "stack": ["x"]}, USUAL, None),
    ({"error": None, "message": ""}, USUAL, None),
    ("text", USUAL, None),
    ([], USUAL, None),
    (7, USUAL, None),
]


@pytest.mark.parametrize(("document", "message", "code"), SAID)
def test_the_vendors_words_survive_in_any_form(document: Any, message: str, code: str | None) -> None:
    error = vendor_error(422, json.dumps(document).encode())
    assert (error.status, error.message) == (422, message)
    assert error.document is None
    if code is not None:
        assert error.code == code


@pytest.mark.parametrize("body", [b"", b"<html>no</html>", b"plain words", b'{"message": "cut'])
def test_what_is_no_json_is_not_quoted(body: bytes) -> None:
    assert vendor_error(422, body).message == USUAL


def test_a_message_without_end_is_cut_and_nesting_too() -> None:
    assert len(vendor_error(422, json.dumps({"message": "x" * 100_000}).encode()).message) == 2000
    deep: Any = "m"
    for _ in range(50):
        deep = {"error": deep}
    assert vendor_error(422, json.dumps(deep).encode()).message == USUAL


WAITS = [
    ("5", 5),
    (" 1.5 ", 1.5),
    ("0", 0),
    ("-3", 0),
    ("nan", 0),
    ("inf", 0),
    ("1_0", 0),
    ("9" * 400, 0),
    ("soon", 0),
    ("", 0),
    ("Tue, 14 Nov 2023 22:13:50 GMT", 30),
    ("Tue, 14 Nov 2023 22:12:50 GMT", 0),
    ("Tue, 99 Nov 2023 22:13:50 GMT", 0),
    ("Wed, 31 Feb 2027 00:00:00 GMT", 0),
    ("Tue, 14 Nov 0000 22:13:50 GMT", 0),
    ("Tue, 14 Nov 99999 22:13:50 GMT", 0),
    ("Fri, 31 Dec 9999 23:59:59 -9999", 0),
    ("Mon, 01 Jan 0001 00:00:00 +2359", 0),
    ("2027-01-01T00:00:00Z", 0),
]


@pytest.mark.parametrize(("text", "wait"), WAITS)
def test_any_retry_after_is_understood_or_none(text: str, wait: float) -> None:
    assert pauses.seconds(text, NOW) == wait or wait == 0 <= pauses.seconds(text, NOW)


def test_seconds_may_stand_in_other_words() -> None:
    assert pauses.of_headers({"retry-after-ms": "1500", "retry-after": "9"}, NOW) == 1.5
    assert pauses.of_headers({"retry-after-ms": "x", "retry-after": "9"}, NOW) == 9
    info = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.07s"}
    for document in ({"error": {"details": [{"a": 1}, info]}}, [{"error": {"details": [info]}}]):
        assert pauses.of_body(json.dumps(document).encode()) == 34.07
    for odd in (
        b'"retryDelay"',
        b'{"error":{"details":{"retryDelay":1}}}',
        b'{"error":{"details":[{"retryDelay":7}]}}',
    ):
        assert pauses.of_body(odd) == 0
    assert [pauses.told(wait) for wait in (0, 0.2, 7, 7.2, 1800, 1e300)] == ["1", "1", "7", "8", "60", "60"]
