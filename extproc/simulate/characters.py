"""Stand-ins for the blind game: each vendor's model has a character, and answers in the language it is asked in.

Rule: heard only where a system message tells a model not to say who it is; elsewhere the script is the same for all.
A character forgets itself when it is asked who it is, as models do.
"""

from dataclasses import dataclass
import re
from typing import Final

_SECRET: Final = (b"Never say who you are", "不要说出你是谁".encode())
_ASKS: Final = (b"Ask it one short question", "问它一个简短的问题".encode())
_WHO: Final = re.compile(r"who are you|your name|你是谁|叫什么|介绍.{0,3}自己", re.IGNORECASE)
_CHINESE: Final = re.compile(r"[\u4e00-\u9fff]")


@dataclass(frozen=True, slots=True)
class Character:
    """How it answers and what it asks, in English and Chinese; `{}` is what was said to it."""

    answers: tuple[str, str]
    questions: tuple[tuple[str, ...], tuple[str, ...]]


_CHARACTERS: Final = (
    Character(
        (
            "Three points on “{}”. First, look at what is measured. Second, ask who measured it. Third, be ready to be "
            "wrong. In short: clarity before speed.",
            "关于“{}”，我分三点说。第一，先看清问题；第二，再找可靠的依据；第三，留一点余地。总之，清楚比快更要紧。",
        ),
        (
            (
                "What do you check first when you are not sure?",
                "Which list would you never make?",
                "Order or surprise?",
            ),
            ("你拿不准的时候，先查什么？", "哪一类清单你绝对不列？", "你更喜欢秩序，还是意外？"),
        ),
    ),
    Character(
        (
            "Great question! 😊 “{}” is something I could talk about all day. Imagine explaining it to a curious "
            "child: start with a story, then let them guess. Would you like an example?",
            "这个问题真好！😊 说到“{}”，我能聊上一整天。"
            "不妨想象讲给一个好奇的孩子听：先讲个故事，再让他猜。要不要我举个例子？",
        ),
        (
            ("What made you smile today?", "If you could cook one dish, which?", "Whom would you invite to dinner?"),
            ("今天有什么让你会心一笑的事？", "如果只做一道菜，你做什么？", "你想请谁来吃晚饭？"),
        ),
    ),
    Character(
        (
            "“{}” — a lamp in fog: it shows itself first, and the road later. I would walk a little, and ask again.",
            "“{}”——像雾里的一盏灯，先照见自己，再照见路。我会先走几步，再问一次。",
        ),
        (
            ("What does silence sound like to you?", "Sea or mountain?", "Which line of a poem stays with you?"),
            ("对你来说，安静是什么声音？", "看海还是看山？", "哪句诗一直留在你心里？"),
        ),
    ),
    Character(
        (
            "Summary: “{}” depends on cost, risk and time. Recommendation: start small, measure, then decide.",
            "结论：“{}”取决于成本、风险和时间。建议：小步试行，衡量效果，再作决定。",
        ),
        (
            ("What is the smallest useful step?", "How would you measure that?", "What would you stop doing?"),
            ("最小的有用步骤是什么？", "你会怎么衡量？", "你会停掉哪件事？"),
        ),
    ),
)
_BY_NAME: Final = {"通义千问": 0, "GPT": 1, "Kimi": 2, "GPT（Azure）": 3}
_LONGEST: Final = 60


def keeps_secret(body: bytes) -> bool:
    """Whether a request's body (bytes) tells the model not to say who it is: bool."""
    return any(mark in body for mark in _SECRET)


def speaks(name: str, text: str, body: bytes) -> str:
    """What the character of the model called `name` (str) says to `text` (str): str."""
    place = _BY_NAME.get(name, sum(map(ord, name)) % len(_CHARACTERS))
    character, chinese = _CHARACTERS[place], bool(_CHINESE.search(text))
    if any(mark in body for mark in _ASKS):
        questions = character.questions[chinese]
        return questions[body.count(b"assistant") % len(questions)]
    said = character.answers[chinese].format(text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…")
    if _WHO.search(text):
        return f"我是{name}。{said}" if chinese else f"I am {name}. {said}"
    return said
