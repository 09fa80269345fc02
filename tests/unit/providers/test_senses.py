"""What a model must take besides text: odd parts are nobody's crash."""

from typing import Any

import pytest

from extproc.providers.messages import senses
from extproc.text import jsontext


@pytest.mark.parametrize("kind", [["text"], {"a": 1}, None, 1, "unknown"])
def test_a_part_of_no_known_kind_asks_for_nothing(kind: Any) -> None:
    picture = {"type": "image_url", "image_url": {"url": "u"}}
    assert senses(jsontext.raw([{"role": "user", "content": [{"type": kind}, picture]}])) == {"image"}
