"""What a person is shown after the start is right as it stands."""

import code
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from extproc.config.config import Config
from extproc.supervisor.demo import banner


def test_the_python_lines_can_be_pasted_into_a_prompt(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[dict[str, Any]] = []

    def create(**arguments: Any) -> list[Any]:
        asked.append(arguments)
        return [SimpleNamespace(choices=[SimpleNamespace(delta=SimpleNamespace(content="好"))])]

    def client(**arguments: str) -> Any:
        asked.append(arguments)
        return SimpleNamespace(chat=SimpleNamespace(completions=SimpleNamespace(create=create)))

    monkeypatch.setitem(sys.modules, "openai", SimpleNamespace(OpenAI=client))
    text = banner("http://h:1", Config.model_validate({"providers": [{"type": "qwen", "apiTokens": ["k"]}]}))
    prompt = code.InteractiveConsole()
    for line in text[text.index("from openai") :].splitlines():
        unfinished = prompt.push(line)
    assert not unfinished
    assert capsys.readouterr() == ("好", "")
    assert asked[0] == {"base_url": "http://h:1/v1", "api_key": "any-key"}
    assert asked[1]["stream"] is True
