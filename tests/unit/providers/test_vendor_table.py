"""The table of vendors: what a row may say, and what a configuration is told that says it wrong."""

from pathlib import Path

import pytest

from extproc.providers.vendors import ROWS, Row
from extproc.providers.vendors.members import short_id
from extproc.providers.vendors.quirks import Clamp, Quirks
from extproc.providers.vendors.thinking import Tagged
from extproc.providers.vendors.vendor import RepairedReader
from extproc.text import sse
from tests.unit.configurations import problems, read

SOURCES = ("somewhere, 2026-11-30",)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"type": "New"}, "lower case"),
        ({"env": ("KEY",)}, "_API_KEY"),
        ({"sources": ("somewhere",)}, "date"),
        ({"quirks": Quirks()}, "address"),
    ],
)
def test_a_row_is_checked_when_it_is_made(given: dict[str, object], words: str) -> None:
    whole = {
        "type": "new",
        "title": "New",
        "env": ("NEW_API_KEY",),
        "sources": SOURCES,
        "quirks": Quirks(url=("https://n",)),
    }
    assert Row(**whole)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=words):
        Row(**{**whole, **given})  # type: ignore[arg-type]


def test_every_row_has_a_living_example_and_its_own_address() -> None:
    hosts = [url for row in ROWS.values() for url in row.quirks.url]
    assert len(hosts) == len(set(hosts))
    assert all(row.example for row in ROWS.values())


WRONG = [
    ("refuses: [seed], clamps: {seed: {max: 3}}", "quirks: refuses and clamps both name seed"),
    ("refuses: [seed], renames: {seed: random_seed}", "quirks: refuses and renames both name seed"),
    ("refuses: [b], renames: {a: b}", "quirks: renames a to b, which refuses names"),
    ("renames: {a: b, b: c}", "quirks: renames a to b, which is renamed itself"),
    ("refuses: [messages]", "quirks: refuses messages, without which there is no request"),
    (
        "thinking: {field: think}, returnsThinking: required",
        "quirks: returnsThinking is required, but the thinking stands",
    ),
    ("auth: none, key: required", "quirks: key is required, but auth is none"),
    ("byModel: {x: {prefix: /a}}", "quirks: byModel x: prefix is the same for all models"),
    ("clamps: {n: {min: 3, max: 1}}", "quirks.clamps.n: min 3 is greater than max 1"),
    ("clamps: {n: {}}", "quirks.clamps.n: says either value, or min and max"),
    ("apis: [chats]", "quirks.apis: there is no API 'chats'"),
    ("apis: {chat: v1/}", "quirks.apis: chat: a path begins with /"),
    ("prefix: v1", "quirks.prefix: must be empty, or begin with /"),
    ("refused: [x]", "quirks.refused: unknown key (did you mean refuses?)"),
    ("thinking: {fields: x}", "quirks.thinking.fields: unknown key (did you mean field?)"),
    ("tool_choice: [none]", "quirks: unknown key tool_choice: it is written toolChoice"),
    ("roles: [developper]", "quirks.roles[0]: found the text 'developper' (did you mean developer?)"),
]


@pytest.mark.parametrize(("quirks", "words"), WRONG, ids=[quirks for quirks, _ in WRONG])
def test_what_is_wrong_with_quirks_is_said_with_line_and_key(quirks: str, words: str, tmp_path: Path) -> None:
    text = f"providers:\n  - type: deepseek\n    apiTokens: [k]\n    quirks: {{{quirks}}}\n"
    (found,) = problems(tmp_path, text)
    assert found.startswith("config.yaml:4: providers[0].")
    assert words in found


KEYS = [
    (
        "type: zhipuai\n    apiToken: k\n    doubaoDomain: x",
        "providers[0].doubaoDomain: a key of type doubao, but this provider is of type zhipuai",
    ),
    (
        "type: openai\n    quirks: {refuses: [x]}",
        "providers[0].quirks: a key of type generic, but this provider is of type openai",
    ),
    ("type: cloudflare\n    apiToken: k", "providers[0]: cloudflareAccountId is missing"),
    (
        "type: cloudflare\n    apiToken: k\n    cloudflareAccountId: a/b",
        "providers[0].cloudflareAccountId: must be a name of letters",
    ),
    (
        "type: minimax\n    apiToken: k\n    minimaxApiType: pro",
        "providers[0].minimaxApiType: the pro API is not supported",
    ),
    (
        "type: hunyuan\n    apiToken: k\n    hunyuanAuthKey: k",
        "providers[0].hunyuanAuthKey: Tencent's signed native API is not supported",
    ),
    ("type: generic", "providers[0]: has no address: say genericHost or endpoint"),
    ("type: deepseek", "providers[0].apiTokens: missing: type deepseek needs at least one key"),
    ("type: ollama\n    ollamaServerHost: http://x", "providers[0].ollamaServerHost: must be a host name"),
    ("type: togetherai\n    apiToken: k", "unknown type 'togetherai' (did you mean together-ai?)"),
    (
        "type: dify\n    apiToken: k",
        "type dify is a provider of Higress ai-proxy that this version does not support yet",
    ),
]


@pytest.mark.parametrize(("provider", "words"), KEYS, ids=[words for _, words in KEYS])
def test_keys_of_single_types(provider: str, words: str, tmp_path: Path) -> None:
    found = problems(tmp_path, f"providers:\n  - {provider}\n")
    assert any(words in line and line.startswith("config.yaml:") for line in found), found


def test_a_key_of_another_vendor_that_is_switched_off_is_dropped(tmp_path: Path) -> None:
    loaded = read(
        tmp_path, "providers:\n  - {type: deepseek, apiToken: k, zhipuCodePlanMode: false, doubaoDomain: ''}\n"
    )
    assert loaded.config.providers[0].type == "deepseek"


@pytest.mark.parametrize("cuts", [1, 2, 3, 5, 8, 100])
@pytest.mark.parametrize(
    ("text", "thought", "answer"),
    [
        ("<think>\n a b \n</think>\n\nHello ", "a b", "Hello "),
        ("<think></think>x", "", "x"),
        ("\n\n<think>a</think>", "a", ""),
        ("<think>a < b </thin> c</think>y", "a < b </thin> c", "y"),
        ("<thin", "", "<thin"),
        ("  hello <think>no</think>", "", "  hello <think>no</think>"),
        ("<think>never ends </thi", "never ends </thi", ""),
        ("", "", ""),
    ],
)
def test_thinking_in_the_content_whatever_the_cuts(cuts: int, text: str, thought: str, answer: str) -> None:
    tagged = Tagged()
    pieces = [text[at : at + cuts] for at in range(0, len(text), cuts)] or [""]
    told = [tagged.feed(piece, last=piece is pieces[-1] and at == len(pieces) - 1) for at, piece in enumerate(pieces)]
    assert ("".join(t for t, _ in told), "".join(a for _, a in told)) == (thought, answer)


def test_an_id_stays_the_same_on_each_turn() -> None:
    assert short_id("call_1", 9) == short_id("call_1", 9) != short_id("call_2", 9)
    assert len(short_id("call_1", 9)) == 9
    assert short_id("abcDEF123", 9) == "abcDEF123"


def test_other_fronts_read_answers_that_are_put_right() -> None:
    reader = RepairedReader(ROWS["minimax"].quirks)
    body = b'{"id":"a","choices":[{"message":{"content":"<think>Hm</think>Hi"},"finish_reason":"stop"}]}'
    (delta,) = reader.body(body)
    assert (delta.reasoning, delta.content, delta.finish) == ("Hm", "Hi", "stop")
    reader = RepairedReader(ROWS["groq"].quirks)
    choices = b'[{"index":0,"delta":{"reasoning":"Hm"},"finish_reason":"stop"}]'
    data = b'{"choices":%b,"x_groq":{"usage":{"prompt_tokens":3}}}' % choices
    (delta,) = reader.event(sse.Event(data, b"", (), data))
    assert (delta.reasoning, reader.usage.prompt_tokens) == ("Hm", 3)
    assert not RepairedReader(ROWS["baichuan"].quirks).done_ends


def test_a_clamp_of_text() -> None:
    assert Clamp(value="low").value == "low"
