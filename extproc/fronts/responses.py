"""OpenAI's Responses API: the front that passes where a vendor has it, and is converted through chat elsewhere.

Rule: errors before an answer are OpenAI's, as for chat. What only a server with a memory could serve is refused.
"""

from extproc.fronts import responses_count, responses_request
from extproc.fronts.front import NOTHING, Front, Notes
from extproc.fronts.responses_answer import ResponsesWriter
from extproc.fronts.writer import Writer
from extproc.providers.reader import Reader
from extproc.providers.traits import Traits
from extproc.terms.call import RESPONSES, Call
from extproc.text.jsontext import Fields


class Responses(Front):
    name = "responses"
    creates = RESPONSES
    counts = f"{RESPONSES}/input_tokens"
    repairs = True
    breaks = False
    """`response.failed` is a last event that nobody takes for a good one; of a broken connection Codex says only that
    (run 2026-11-30, 0.171.0)."""

    def read(self, fields: Fields, traits: Traits) -> tuple[Fields, Notes]:
        return responses_request.read(fields, traits)

    def repair(self, fields: Fields, traits: Traits, *, own: bool) -> tuple[Fields, Notes]:
        return responses_request.repair(fields), NOTHING

    def count(self, fields: Fields) -> bytes:
        return responses_count.count(fields)

    def writer(self, call: Call, model: str, notes: Notes, source: Reader) -> Writer:
        assert isinstance(notes, responses_request.Notes)
        return ResponsesWriter(call, model, notes, source)
