"""What Anthropic's front knows beside single requests: tokens, which vendors pass it, what the documents name."""

from pathlib import Path

from dashscope import get_tokenizer
import pytest

from extproc.config.config import Config
from extproc.fronts import messages_repair, messages_request, messages_tools
from extproc.text.tokens import image_tokens, tokens

ROOT = Path(__file__).parents[3]
PNG = "iVBORw0KGgoAAAANSUhEUgAAA+gAAAMg"
CHINESE = (
    "今天的天气非常好，我们一起去公园散步吧。孩子们在草地上奔跑，老人们坐在长椅上聊天，远处传来了悠扬的琴声。"
    "请帮我写一个函数，读取一个文件并且统计其中每个单词出现的次数，然后按照次数从高到低排序输出前十个。"
    "人工智能的发展正在深刻地改变着我们的生活方式和工作方式，从医疗诊断到自动驾驶，从语言翻译到艺术创作。"
)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param((ROOT / "README.md").read_text(), id="English"),
        pytest.param((ROOT / "LICENSE").read_text(), id="legal English"),
        pytest.param(CHINESE, id="Chinese"),
        pytest.param((ROOT / "docs/limits.zh.md").read_text(), id="technical Chinese"),
        pytest.param((ROOT / "extproc/fronts/turns.py").read_text(), id="code"),
        pytest.param((ROOT / "tests/micro/instructions.json").read_text(), id="JSON"),
    ],
)
def test_tokens_are_estimated_within_fifteen_percent(text: str) -> None:
    assert tokens(text) == pytest.approx(len(get_tokenizer("qwen-plus").encode(text)), rel=0.15)


def test_a_long_text_is_judged_by_samples() -> None:
    text = (ROOT / "README.md").read_text()
    assert tokens(text * 20) == pytest.approx(20 * tokens(text), rel=0.05)


@pytest.mark.parametrize(
    ("data", "expected"), [(PNG, 1066), ("R0lGODlhCgAKAA==", 1), ("AAAA", 1600), ("no base64", 1600), (None, 1600)]
)
def test_images_are_counted_by_their_size(data: str | None, expected: int) -> None:
    assert image_tokens(data) == expected


def test_pass_where_there_is_no_such_endpoint_is_an_error() -> None:
    provider = {"type": "openai", "apiTokens": ["k"], "messagesApi": "pass"}
    with pytest.raises(ValueError, match="messagesApi: openai has no Messages API"):
        Config.model_validate({"providers": [provider]})


@pytest.mark.parametrize("name", ["docs/fronts.md", "docs/fronts.zh.md"])
def test_what_cannot_be_carried_is_in_the_documents(name: str) -> None:
    text = (ROOT / name).read_text()
    for member in (
        *messages_request.REFUSED,
        *messages_repair.OF_BETAS,
        *messages_tools.DEFINED,
        *messages_tools.NEEDED,
    ):
        assert f"`{member}`" in text, member
