"""The configuration's `redis` block: its URL, what is shown of it, and the words for what is wrong."""

from pathlib import Path

import pytest

from extproc.config.load import load
from tests.unit.configurations import problems, read, write

REDIS = "providers: [{type: openai}]\nredis:\n  url: "
ENVIRON = {"URL": "rediss://:a%2Fb@h:1/2", "PASSWORD": "p/@:w", "HOST": "h:7", "DB": "5", "EMPTY": ""}


@pytest.mark.parametrize(
    ("url", "understood", "shown"),
    [
        ("redis://127.0.0.1", "redis://127.0.0.1", "redis://127.0.0.1"),
        ("redis://u:PLANTED@h:6380/3", "redis://u:PLANTED@h:6380/3", "redis://h:6380/3"),
        ("rediss://h?ssl_ca_certs=/ca.pem&db=1", "rediss://h?ssl_ca_certs=/ca.pem&db=1", "rediss://h"),
        ("unix://u:PLANTED@/run/valkey.sock?db=1", "unix://u:PLANTED@/run/valkey.sock?db=1", "unix:///run/valkey.sock"),
        ("redis://[::1]:6379/0", "redis://[::1]:6379/0", "redis://[::1]:6379/0"),
        ("${URL}", "rediss://:a%2Fb@h:1/2", "rediss://h:1/2"),
        ("redis://me:${PASSWORD}@${HOST}/${DB}", "redis://me:p%2F%40%3Aw@h:7/5", "redis://h:7/5"),
    ],
)
def test_a_redis_url(tmp_path: Path, url: str, understood: str, shown: str) -> None:
    block = read(tmp_path, f'{REDIS}"{url}"\n', ENVIRON).config.redis
    assert block is not None
    assert (block.url.get_secret_value(), block.key_prefix, block.timeout) == (understood, "ai-proxy:", 2.0)
    assert block.place == shown
    assert "PLANTED" not in repr(block)


FORMS = (
    "must be redis://host:port/db, rediss://host:port/db or unix:///path?db=0, with special characters of a password "
    "written as %XX"
)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://:PLANTED@h", FORMS),
        ("PLANTED", FORMS),
        ("redis://", FORMS),
        ("redis://:PLANTED@:1", FORMS),
        ("unix://", FORMS),
        ("redis://:PLANTED@h:port", FORMS),
        ("redis://:PLANT/ED@h", FORMS),
        ("redis://u:1#PLANTED@h", FORMS),
        ("redis://u:1?PLANTED@h", FORMS),
        ("redis://u:1/PLANTED@h", "names a database that is not a number"),
        ("redis://h/PLANTED", "names a database that is not a number"),
        ("redis://h?db=x", "names a database that is not a number"),
        (
            "redis://h?password=PLANTED",
            "has an unknown option; allowed: db, ssl_ca_certs, ssl_certfile, ssl_keyfile",
        ),
        ("redis://:${NONE}@h", "the environment variable NONE is not set"),
        ("${EMPTY}", "the environment variable EMPTY is empty"),
        ("${not-a-name}", FORMS),
    ],
)
def test_a_redis_url_that_is_none(tmp_path: Path, url: str, message: str) -> None:
    assert problems(tmp_path, f'{REDIS}"{url}"\n', ENVIRON) == [f"config.yaml:3: redis.url: {message}"]


@pytest.mark.parametrize(
    ("block", "said"),
    [
        ('"redis://:PLANTED@h"', "config.yaml:2: redis: found text; wanted a mapping"),
        ("{url: 6379}", "config.yaml:2: redis.url: must be text: the URL of a Redis or Valkey server"),
        ("{}", "config.yaml:2: redis.url: missing key"),
        ('{url: "redis://h", password: PLANTED}', "config.yaml:2: redis.password: unknown key; allowed: url, "),
    ],
)
def test_a_redis_block_that_is_none(tmp_path: Path, block: str, said: str) -> None:
    [line] = problems(tmp_path, f"providers: [{{type: openai}}]\nredis: {block}\n")
    assert line.startswith(said)
    assert "PLANTED" not in line


def test_redis_needs_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("extproc.config.load.find_spec", lambda name: None)
    said = "config.yaml:2: redis: needs a package that is missing: pip install 'ai-proxy-envoy[redis]'"
    assert problems(tmp_path, f'{REDIS}"redis://h"\n') == [said]


def test_envoy_s_side_needs_nothing_of_redis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("extproc.config.load.find_spec", lambda name: None)
    for url in ("${NONE}", "redis://:${NONE}@${NONE}/${NONE}"):
        assert load(write(tmp_path, f'{REDIS}"{url}"\n'), {}, keyless=True).config.redis
