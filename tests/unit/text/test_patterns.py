"""Model names: which key of a mapping wins, and which patterns a name matches."""

from hypothesis import given, settings
from hypothesis import strategies as st
import pytest
import re2

from extproc.text.patterns import ModelMapping, NamePatterns, host_pattern, host_regex

EVERYTHING = {
    "gpt-4": "exact",
    "gpt-*": "short",
    "gpt-4o*": "long",
    "~^gpt-4o-mini$": "a regex comes too late",
    "~turbo": "first regex",
    "~turbo-2": "second regex",
    "kept": "",
    "kept-*": "",
    "~^kept~": "",
    "*": "star",
}


@pytest.mark.parametrize(
    ("mapping", "name", "expected"),
    [
        (EVERYTHING, "gpt-4", "exact"),
        (EVERYTHING, "gpt-4o", "long"),
        (EVERYTHING, "gpt-4o-mini", "long"),
        (EVERYTHING, "gpt-3", "short"),
        (EVERYTHING, "gpt-", "short"),
        (EVERYTHING, "gpt", "star"),
        (EVERYTHING, "x-turbo-2", "x-first regex-2"),
        (EVERYTHING, "kept", "kept"),
        (EVERYTHING, "kept-1", "kept-1"),
        (EVERYTHING, "kept~", "kept~"),
        (EVERYTHING, "", "star"),
        ({}, "x", "x"),
        ({"a": "b"}, "A", "A"),
        ({"*": ""}, "x", "x"),
        ({"a*": "x", "ab*": "y", "abc*": "z"}, "abcd", "z"),
        ({"abc*": "z", "ab*": "y", "a*": "x"}, "abcd", "z"),
        ({"a*": "x", "ab*": ""}, "abc", "abc"),
        ({"a.c": "dot"}, "abc", "abc"),
        ({"模型*": "中"}, "模型-1", "中"),
        ({"~(\\d+)b$": "size-$1"}, "llama-70b", "llama-size-70"),
        ({"~(\\d+)b$": "size-${1}x"}, "llama-70b", "llama-size-70x"),
        ({"~^(.*)-preview$": "$1"}, "o1-preview", "o1"),
        ({"~^(.)(.)": "$2$1"}, "abc", "bac"),
        ({"~(?P<size>\\d+)b": "${size}B"}, "x7b", "x7B"),
        ({"~b": "x"}, "abc", "axc"),
        ({"~.*": "x"}, "abc", "x"),
        ({"~(.*)": "a/$1"}, "abc", "a/abc"),
        ({"~b*": "x"}, "abbc", "xaxcx"),
        ({"~$": "-x"}, "abc", "abc-x"),
        ({"~gpt(-x)?": "a$1"}, "gpt-gpt-x", "a-a-x"),
        ({"~a": "first", "~b": "second"}, "ba", "bfirst"),
        ({"~^o(\\d)": "z", "o3*": "prefix"}, "o3", "prefix"),
        ({"~x": "$$"}, "x", "$"),
        ({"~x": "\\1"}, "x", "\\1"),
    ],
)
def test_mapping(mapping: dict[str, str], name: str, expected: str) -> None:
    assert ModelMapping(mapping).map(name) == expected


@pytest.mark.parametrize("mapping", [{"~(": "x"}, {"~a": "$1"}, {"~(a)": "$2"}, {"~(?=a)": "x"}, {"~a": "${name}"}])
def test_a_mapping_that_cannot_work_is_refused(mapping: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="~"):
        ModelMapping(mapping)


def test_exact_keys_are_the_names_a_client_can_know() -> None:
    assert ModelMapping(EVERYTHING).names == ("gpt-4", "kept")


LETTERS = st.text("ab", max_size=4)
TARGETS = st.sampled_from(["", "T1", "T2", "T3"])
KEYS = st.one_of(
    LETTERS.filter(bool),
    LETTERS.map(lambda s: s + "*"),
    st.sampled_from(["~a", "~b$", "~^ab", "~aa", "~bbb"]),
)


def reference(mapping: dict[str, str], name: str) -> str:
    """The rule, spelled out with `str` methods alone."""
    if name in mapping and not name.startswith("~"):
        return mapping[name] or name
    prefixes = [k for k in mapping if k.endswith("*") and k != "*" and name.startswith(k[:-1])]
    if prefixes:
        return mapping[max(prefixes, key=len)] or name
    for key, target in mapping.items():
        places = {
            "~a": name.find("a") if "a" in name else None,
            "~b$": len(name) - 1 if name.endswith("b") else None,
            "~^ab": 0 if name.startswith("ab") else None,
            "~aa": name.find("aa") if "aa" in name else None,
            "~bbb": name.find("bbb") if "bbb" in name else None,
        }
        if key.startswith("~") and places[key] is not None:
            return replaced(name, key, target) if target else name
    return mapping.get("*") or name


def replaced(name: str, key: str, target: str) -> str:
    literal = key[1:].strip("^$")
    if key in ("~a", "~aa", "~bbb"):
        return name.replace(literal, target)
    return target + name[len(literal) :] if key == "~^ab" else name[: -len(literal)] + target


@settings(max_examples=400, deadline=None)
@given(mapping=st.dictionaries(KEYS, TARGETS, max_size=6), name=LETTERS.filter(bool))
def test_exact_then_longest_prefix_then_regex_in_file_order_then_star(mapping: dict[str, str], name: str) -> None:
    assert ModelMapping(mapping).map(name) == reference(mapping, name)


@settings(max_examples=200, deadline=None)
@given(name=st.text(min_size=1, max_size=40))
def test_any_text_can_be_asked_for(name: str) -> None:
    assert ModelMapping({"a": "b"}).map(name) == ("b" if name == "a" else name)
    assert isinstance(name in NamePatterns(["a*", "~b", "c"]), bool)
    assert name in NamePatterns(["*"])


@pytest.mark.parametrize(
    ("patterns", "name", "expected"),
    [
        (["a"], "a", True),
        (["a"], "ab", False),
        (["a*"], "a", True),
        (["a*"], "ba", False),
        (["qwen*-omni*"], "qwen2.5-omni-7b", True),
        (["qwen*-omni*"], "qwen-omni", True),
        (["qwen*-omni*"], "qwen-omn", False),
        (["qwen2.5-vl*"], "qwen2x5-vl", False),
        (["qwen3-*-thinking*"], "qwen3-30b-a3b-thinking-2507", True),
        (["~^o\\d"], "o3", True),
        (["~\\d$"], "o3", True),
        (["~\\d$"], "o", False),
        (["*"], "x\ny", True),
        (["a*"], "a\n", True),
        (["a"], "a\n", False),
        (["*a"], "xa\n", False),
        ([], "x", False),
        (["A"], "a", False),
        (["模*"], "模型", True),
    ],
)
def test_patterns(patterns: list[str], name: str, expected: bool) -> None:
    assert (name in NamePatterns(patterns)) is expected


def test_a_pattern_that_is_no_expression_is_refused() -> None:
    with pytest.raises(ValueError, match="RE2"):
        NamePatterns(["~("])


@pytest.mark.parametrize(
    "pattern",
    [
        "",
        " ",
        "https://a.com",
        "a.com/x",
        "a*b.com",
        "*a*",
        "**",
        "*.",
        ".*",
        ".a.com",
        "a b",
        "a:b",
        "::1",
        ":80",
        "例子.cn",
    ],
)
def test_a_host_pattern_that_can_never_match_is_an_error(pattern: str) -> None:
    with pytest.raises(ValueError, match="no host can match"):
        host_pattern(pattern)


@pytest.mark.parametrize(
    ("pattern", "hosts"),
    [
        ("*", ["", "a", "[::1]"]),
        ("*:8080", ["a"]),
        ("A.Example.com:8080", ["a.example.COM"]),
        ("*oo.cn", ["foo.cn", "a.OO.cn", "oo.cn"]),
        ("foo*", ["foo", "FOO.a.b"]),
        ("[::1]:80", ["[::1]"]),
    ],
)
def test_the_expression_of_a_host_pattern(pattern: str, hosts: list[str]) -> None:
    for host in hosts:
        assert re2.fullmatch(host_regex(pattern), host), host
        assert re2.fullmatch(host_regex(pattern) + "(?::[0-9]+)?", f"{host}:8080"), host
