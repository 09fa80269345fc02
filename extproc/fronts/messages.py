"""Anthropic's Messages API: the front of Claude Code and Anthropic's SDKs.

Rule: what is Anthropic's about an exchange; requests are read in `messages_request.py`, answers written in
`messages_answer.py`.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from extproc.fronts import front, messages_errors, messages_repair, messages_request
from extproc.fronts.front import Front
from extproc.fronts.messages_answer import MessagesWriter
from extproc.fronts.writer import Writer
from extproc.providers.reader import Reader
from extproc.providers.traits import Traits
from extproc.terms.call import MESSAGES, Call, Target
from extproc.terms.errors import ProxyError
from extproc.text import jsontext, sse
from extproc.text.jsontext import Fields


class Messages(Front):
    name = "messages"
    creates = MESSAGES
    counts = f"{MESSAGES}/count_tokens"
    repairs = True
    shares_keys = False

    def read(self, fields: Fields, traits: Traits) -> tuple[Fields, front.Notes]:
        return messages_request.read(fields, traits)

    def writer(self, call: Call, model: str, notes: front.Notes, source: Reader) -> Writer:
        assert isinstance(notes, messages_request.Notes)
        return MessagesWriter(call, model, notes, source)

    def count(self, fields: Fields) -> bytes:
        return jsontext.dump({"input_tokens": messages_request.conversation(fields).tokens()})

    def error(self, error: ProxyError, request_id: str, notes: front.Notes = front.NOTHING) -> bytes:
        asked = notes.max_tokens if isinstance(notes, messages_request.Notes) else 0
        return messages_errors.document(error, request_id, asked)

    def headers(self, request_id: str) -> Mapping[str, str]:
        return {"request-id": request_id}

    def failure(self, error: ProxyError, request_id: str) -> bytes:
        return sse.encode(self.error(error, request_id), b"error")

    def repair(self, fields: Fields, traits: Traits, *, own: bool) -> tuple[Fields, front.Notes]:
        mended, dropped = messages_repair.repair(fields, traits, own=own)
        return mended, front.Notes(dropped=dropped)

    def serves(self, target: Target, method: str) -> bool:
        return target.root != MESSAGES or (target.api in (self.creates, self.counts) and method == "POST")

    def model(self, name: str, made: int) -> dict[str, Any]:
        time = datetime.fromtimestamp(made, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return {"type": "model", "id": name, "display_name": name, "created_at": time, "lifecycle": "active"}

    def models(self, models: Sequence[dict[str, Any]], query: Mapping[str, str]) -> dict[str, Any]:
        """A page of them: up to `limit` behind `after_id`, or up to as many right before `before_id`."""
        names = [model["id"] for model in models]
        first = names.index(query["after_id"]) + 1 if query.get("after_id") in names else 0
        end = names.index(query["before_id"]) if query.get("before_id") in names else len(names)
        shown, limit = models[first:end], _limit(query.get("limit", ""))
        page = shown[-limit:] if "before_id" in query and "after_id" not in query else shown[:limit]
        ends = (page[0]["id"], page[-1]["id"]) if page else (None, None)
        return {"data": page, "has_more": len(shown) > len(page), "first_id": ends[0], "last_id": ends[1]}


_USUAL_PAGE: Final = 20
_LARGEST_PAGE: Final = 1000


def _limit(given: str) -> int:
    if not (given.isascii() and given.isdecimal() and len(given) < 6):
        return _USUAL_PAGE
    return min(max(int(given), 1), _LARGEST_PAGE)
