"""What of a request a vendor has no word for is told: in the answer's header and in the log."""

from typing import Any

import pytest

from tests.unit.exchanges import HEAD, JSON, VIA
from tests.unit.player import Play, config_of
from tests.unit.vectors import dump

QWEN = {"id": "p", "type": "qwen", "apiTokens": ["sk-q"]}
ANSWER = dump({"output": {"choices": [{"finish_reason": "stop", "message": {"content": "hi"}}]}, "request_id": "r"})
BAD = dump({"code": "InvalidParameter", "message": "no", "request_id": "r"})


def played(members: dict[str, Any], *, status: str = "200", body: bytes = ANSWER, **config: Any) -> Play:
    play = Play(config_of({"providers": [QWEN], **config}))
    chat = {"model": "m", "messages": [{"role": "user", "content": "hi"}], **members}
    play.request(HEAD, dump(chat), {})
    play.response({**JSON, ":status": status}, [body], attributes=VIA)
    return play


@pytest.mark.parametrize(("status", "body"), [("200", ANSWER), ("400", BAD)])
def test_told_with_the_answer(status: str, body: bytes) -> None:
    play = played({"logit_bias": {"1": 1}, "user": "u"}, status=status, body=body)
    assert play.seen.client["x-ai-dropped"] == "logit_bias,user"
    assert play.exchange.record.dropped == "logit_bias,user"


def test_nothing_is_said_where_nothing_is_lost() -> None:
    play = played({"temperature": 1})
    assert "x-ai-dropped" not in play.seen.client
    assert play.exchange.record.dropped is None


def test_without_answer_headers_it_is_in_the_log_alone() -> None:
    play = played({"user": "u"}, answerHeaders=False)
    assert "x-ai-dropped" not in play.seen.client
    assert play.exchange.record.dropped == "user"


def test_a_clients_own_names_are_no_trouble() -> None:
    play = played({"a,b\r\nx-evil: 1": 1, "名": 1, "l" * 200: 1})
    assert play.seen.client["x-ai-dropped"] == f"a%2Cb%0D%0Ax-evil:%201,%E5%90%8D,{'l' * 100}"
    many = played({f"n{i}": 1 for i in range(100)}).seen.client["x-ai-dropped"]
    assert many.endswith(",n31,...")
