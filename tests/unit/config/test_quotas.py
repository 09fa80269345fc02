"""`limits` and `usage`: what is wrong is said at start, with file, line and key."""

from pathlib import Path
from typing import Any

import pytest

from extproc.config.load import ConfigError, load
from extproc.supervisor.quotas import store_path
from tests.unit.player import config_of

BASE = """\
providers:
  - {type: openai, apiTokens: [sk-a-b-c-d], models: [gpt-4o]}
"""
ALICE = "clients:\n  - name: alice\n    key: sk-alice-1\n    groups: [team]\n    limits:\n      - "
ALL = "limits:\n  - "


def wrong(tmp_path: Path, text: str) -> str:
    path = tmp_path / "c.yaml"
    path.write_text(BASE + text)
    with pytest.raises(ConfigError) as error:
        load(path, {})
    return str(error.value).replace(f"{path}:", "")


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        ("{tokens: 5}", "8: clients[0].limits[0]: tokens needs a per: second, minute, hour, day or month"),
        ("{usd: 5}", "8: clients[0].limits[0]: usd needs a per"),
        ("{tokens: -5, per: day}", "8: clients[0].limits[0].tokens: found the number -5; must be greater than 0"),
        ("{usd: -0.5, per: day}", "8: clients[0].limits[0].usd: found the number -0.5; must be greater than 0"),
        ("{requests: 0, per: day}", "must be greater than 0"),
        ("{requests: 1.5, per: day}", "limits[0].requests: found the number 1.5; wanted a whole number"),
        ("{requests: yes please, per: day}", "wanted a whole number"),
        ("{requests: true, per: day}", "limits[0].requests: found true; wanted a number"),
        ("{usd: .inf, per: day}", "limits[0].usd: found the number inf; wanted a finite number"),
        ("{usd: lots, per: day}", "limits[0].usd: found the text 'lots'; wanted a number"),
        ("{usd: 0.0000001, per: day}", "limits[0].usd: found the number 1e-07; wanted at most 6 decimals"),
        ("{tokens: 5, per: week}", "limits[0].per: found the text 'week'; allowed: second, minute, hour, day, month"),
        ("{tokens: 5, per: minutes}", "(did you mean minute?)"),
        ("{token: 5, per: day}", "limits[0].token: unknown key (did you mean tokens?)"),
        ("{eurs: 5, per: day}", "limits[0].eurs: unknown key (did you mean eur?)"),
        ("{per: day}", "says nothing that is limited; one of requests, tokens, inputTokens"),
        ("{tokens: 5, requests: 1, per: day}", "limits requests and tokens: give each an entry of its own"),
        ("{concurrent: 5, per: day}", "concurrent is how many at a time, so there is no per beside it"),
        ("{tokens: 5, per: day, zone: Mars/Phobos}", "limits[0].zone: there is no time zone 'Mars/Phobos'"),
        ("{tokens: 5, per: day, zone: asia/shanghai}", "did you mean Asia/Shanghai?"),
        ("{tokens: 5, per: day, zone: Asia}", "there is no time zone 'Asia'"),
        ("{tokens: 5, per: day, zone: ../etc/passwd}", "there is no time zone"),
        ("{tokens: 5, per: day, zone: +08:00}", "there is no time zone"),
        ("{tokens: 5, per: minute, zone: UTC}", "zone says where a day or a month begins"),
        ("{tokens: 5, per: day, warnAt: 80}", "limits[0].warnAt: found the number 80; must be less than or equal to 1"),
        ("{tokens: 5, per: day, warnAt: 0}", "must be greater than 0"),
        ("{tokens: 5, per: day, shadow: maybe}", "limits[0].shadow: found the text 'maybe'; wanted true or false"),
        ("{tokens: 5, per: day, each: client}", "limits[0].each: unknown key"),
        ("{tokens: 5, per: day}\n      - {tokens: 6, per: day}", "9: clients[0].limits[1]: contradicts another entry"),
        ("{tokens: 5, per: day}\n      - {tokens: 6, per: hour}", "6 tokens per hour can never be reached"),
        ("{usd: 50, per: month}\n      - {usd: 60, per: day}", "9: clients[0].limits[1]: contradicts another entry"),
        ("{concurrent: 5}\n      - {concurrent: 6}", "contradicts another entry, 5 concurrent: say one of them"),
    ],
)
def test_a_limit_of_a_client_that_cannot_be_meant(limit: str, said: str, tmp_path: Path) -> None:
    assert said in wrong(tmp_path, ALICE + limit + "\n")


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        (
            "{requests: 5, per: day, match: {clients: [bob]}}",
            "10: limits[0].match.clients[0]: there is no client 'bob'",
        ),
        ("{requests: 5, per: day, match: {clients: [alic]}}", "(did you mean alice?); there are: alice"),
        ("{requests: 5, per: day, match: {groups: [teams]}}", "match.groups[0]: there is no group 'teams' (did you"),
        (
            "{requests: 5, per: day, match: {routes: ['x*']}}",
            "match.routes[0]: no route matches 'x*'; there are: default",
        ),
        ("{requests: 5, per: day, match: {providers: [qwen]}}", "match.providers[0]: there is no provider 'qwen'"),
        ("{requests: 5, per: day, match: {models: []}}", "match.models: must not be empty"),
        ("{requests: 5, per: day, match: {models: ['~(']}}", "is not an RE2 regular expression"),
        ("{requests: 5, per: day, match: {model: [x]}}", "match.model: unknown key (did you mean models?)"),
        ("{requests: 5, per: day, each: clients}", "limits[0].each: found the text 'clients' (did you mean client?)"),
        ("{requests: 5, per: day}\n  - {requests: 6, per: day, shadow: true}", "11: limits[1]: contradicts another"),
    ],
)
def test_a_limit_of_all_that_cannot_be_meant(limits: str, said: str, tmp_path: Path) -> None:
    assert said in wrong(tmp_path, ALICE + "{tokens: 5, per: day}\n" + ALL + limits + "\n")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (ALL + "{requests: 5, per: day, each: client}", "4: limits[0].each: there are no clients to tell apart"),
        (ALL + "{requests: 5, per: day, match: {clients: ['*']}}", "no client matches '*'; there are no clients"),
        ("limits: []", "3: limits: must not be empty"),
        ("usage: {store: redis}", "3: usage.store: redis needs the key redis beside usage"),
        ("usage: {onFailure: explode}", "3: usage.onFailure: found the text 'explode'; allowed: local, ref"),
        ("usage: {onfailure: local}", "unknown key (did you mean onFailure?)"),
        ("usage: {store: ''}", "3: usage.store: must not be empty"),
        ("usage: memory", "3: usage: found text; wanted a mapping"),
    ],
)
def test_what_else_is_wrong(text: str, said: str, tmp_path: Path) -> None:
    assert said in wrong(tmp_path, text + "\n")


def test_what_may_stand_side_by_side(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(
        f"{BASE}{ALICE}{{tokens: 5, per: minute}}\n"
        "      - {tokens: 60, per: hour}\n"
        "      - {inputTokens: 9, per: hour}\n"
        "      - {usd: 0.5, per: day}\n"
        "      - {usd: 9, per: month, zone: Asia/Shanghai}\n"
        f"{ALL}{{tokens: 1, per: day, match: {{clients: [alice]}}}}\n"
        "  - {tokens: 1, per: day, match: {clients: ['a*']}}\n"
        "  - {tokens: 1, per: day, each: client}\n"
        "usage: {store: state/u.db, onFailure: refuse}\n"
    )
    config = load(path, {}).config
    assert config.usage.store == str(tmp_path / "state/u.db")
    assert [limit.said for limit in config.clients[0].limits] == [
        "5 tokens per minute",
        "60 tokens per hour",
        "9 inputTokens per hour",
        "0.5 USD per day",
        "9 USD per month (Asia/Shanghai)",
    ]


@pytest.mark.parametrize(
    ("usage", "environ", "path"),
    [
        ({}, {"STATE_DIRECTORY": "/var/lib/a:/b", "HOME": "/h"}, "/var/lib/a/usage.db"),
        ({}, {"XDG_STATE_HOME": "/x", "HOME": "/h"}, "/x/ai-proxy-envoy/usage-"),
        ({}, {"HOME": "/h"}, "/h/.local/state/ai-proxy-envoy/usage-"),
        ({}, {}, "None"),
        ({"store": "memory"}, {"STATE_DIRECTORY": "/s"}, "None"),
        ({"store": "/y/u.db"}, {"STATE_DIRECTORY": "/s"}, "/y/u.db"),
    ],
)
def test_where_it_is_kept(usage: dict[str, Any], environ: dict[str, str], path: str) -> None:
    config = config_of({"providers": [{"type": "openai", "apiTokens": ["k"]}], "usage": usage})
    assert str(store_path(config, Path("/c.yaml"), environ)).startswith(path)
