"""Names by which a model gives itself away are blanked while a game is on.

Rule: pure. Names of what plays, and those that makers and their models go by, in any case; what may be the beginning of
one is held back until it is known, since streams cut anywhere.
"""

from collections.abc import Iterable
import re
from typing import Final

BLANK: Final = "███"
MOST_HELD: Final = 80
"""Characters that are held back at most."""

KNOWN: Final = (
    *("chat gpt", "open ai", "deep seek", "amazon nova"),
    *(
        "qwen tongyi 通义千问 通义 千问 alibaba aliyun 阿里巴巴 阿里云 阿里 dashscope 百炼 chatgpt gpt "
        "openai claude anthropic gemini gemma bard google 谷歌 deepmind deepseek 深度求索 kimi moonshot "
        "月之暗面 doubao 豆包 bytedance 字节跳动 火山方舟 volcengine chatglm glm zhipu 智谱清言 智谱 "
        "minimax abab hunyuan 混元 tencent 腾讯 元宝 ernie 文心一言 文心 baidu 百度 千帆 sparkdesk "
        "讯飞星火 讯飞 iflytek baichuan 百川 零一万物 stepfun 阶跃星辰 llama mistral mixtral grok xai "
        "copilot microsoft azure 微软 cohere bedrock phi-4"
    ).split(),
)
_TAIL: Final = r"[a-z0-9.:_-]*"
_WORD: Final = re.compile(r"[a-z0-9]", re.IGNORECASE)


class Blanker:
    """For one stream: feed it text, take what may be shown. `names`: those of what plays."""

    def __init__(self, names: Iterable[str]) -> None:
        parts = {part for name in names for part in (name, *re.split(r"[/:@]", name)) if len(part) > 1}
        self._names = sorted({name.lower() for name in (*KNOWN, *parts)}, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(_matching, self._names)), re.IGNORECASE)
        self._rest = self._before = ""
        self.found = False
        """Whether something was blanked."""

    def feed(self, text: str) -> str:
        return self._shown(self._rest + text, last=False)

    def close(self) -> str:
        return self._shown(self._rest, last=True)

    def _shown(self, text: str, *, last: bool) -> str:
        shown, at, before = "", len(self._before), len(self._before)
        text = self._before + text  # whether a word begins here shows in what stood before
        for match in self._pattern.finditer(text, before):
            if not last and len(text) - match.start() < MOST_HELD and self._may_go_on(text, match):
                break
            shown += text[at : match.start()] + BLANK
            at, self.found = match.end(), True
        cut = len(text) if last else self._safe(text, at)
        shown += text[at:cut]
        self._before, self._rest = text[max(0, cut - 1) : cut], text[cut:]
        return shown

    def _may_go_on(self, text: str, match: re.Match[str]) -> bool:
        """Whether more of a stream could make a name longer."""
        rest = text[match.start() :].lower()
        return match.end() == len(text) or any(name.startswith(rest) for name in self._names)

    def _safe(self, text: str, at: int) -> int:
        """Until where nothing of a text, from `at` on, can be the beginning of a name."""
        if (match := self._pattern.search(text, at)) is not None:
            return match.start()
        lowered = text.lower()
        for start in range(max(at, len(text) - MOST_HELD), len(text)):
            if start and _WORD.match(text[start]) and _WORD.match(text[start - 1]):
                continue  # inside of a word
            if any(name.startswith(lowered[start:]) for name in self._names):
                return start
        return len(text)


def _matching(name: str) -> str:
    """A name in a text: Latin ones at the beginning of a word, with what is glued behind (`gpt-4o-mini`)."""
    if not name.isascii():
        return re.escape(name)
    return rf"(?<![a-z0-9]){re.escape(name)}{_TAIL}"


def blanked(text: str, names: Iterable[str]) -> str:
    """A whole text at once."""
    blanker = Blanker(names)
    return blanker.feed(text) + blanker.close()


_ALIASES: Final = {
    "千问": "qwen", "通义": "qwen", "tongyi": "qwen", "dashscope": "qwen", "阿里": "qwen",
    "chatgpt": "openai", "gpt": "openai", "月之暗面": "moonshot", "kimi": "moonshot", "anthropic": "claude",
    "google": "gemini", "谷歌": "gemini", "豆包": "doubao", "智谱": "zhipu", "glm": "zhipu", "深度求索": "deepseek",
}  # fmt: skip


def is_meant(guess: str, names: Iterable[str]) -> bool:
    """Whether a guess in a person's words means what goes by these names."""
    said = re.sub(r"[\s_]+", "", guess.lower())
    if len(said) < 2:
        return False
    known = [name.lower() for name in names]
    wanted = {said, *(maker for alias, maker in _ALIASES.items() if alias in said)}
    return any(word in name or (len(name) > 2 and name in said) for word in wanted for name in known)
