"""Keys from the environment, and keys where none belong."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from extproc.config.load import ConfigError, load
from tests.unit.configurations import problems, read, write

URLS = {
    "openaiCustomUrl": "providers:\n- type: openai\n  openaiCustomUrl: {}\n",
    "azureServiceUrl": "providers:\n- {{type: azure, apiToken: x,\n  azureServiceUrl: {}}}\n",
    "context.fileUrl": "providers:\n- type: openai\n  context: {{fileUrl: {}}}\n",
}


@pytest.mark.parametrize(("key", "text"), URLS.items(), ids=URLS)
def test_a_url_takes_keys_from_the_environment_in_its_query(key: str, text: str, tmp_path: Path) -> None:
    given = text.format('"https://h/openai/v1?a=${A}&b=1${B}"')
    [provider] = read(tmp_path, given, {"A": " %2B== ", "B": "2"}).config.providers
    urls = (getattr(provider, "openai_custom_url", ""), getattr(provider, "azure_service_url", ""))
    assert "https://h/openai/v1?a=%2B==&b=12" in (*urls, provider.context and provider.context.file_url)
    where = f"config.yaml:3: providers[0].{key}: "
    assert problems(tmp_path, given, {"B": ""}) == [f"{where}the environment variable A is not set"]
    for elsewhere in ("https://u@${A}/openai/v1", "https://h/${A}/v1", "https://h:${A}", "${A}", "${A}://h", "h#${A}"):
        said = f"{where}${{NAME}} may stand in the query, or as USER or PASSWORD before the host, and nowhere else"
        assert problems(tmp_path, text.format(f'"{elsewhere}"'), {"A": "PLANTED"}) == [said]
    for wrong in ("PLANTED#x", "PLANTED x", "PLANTED\tx", "PLANTED\x7f", "PLANTEDé"):
        said = (
            f"{where}the environment variable A has #, white space or what is not ASCII, which a query has as %XX only"
        )
        assert problems(tmp_path, given, {"A": wrong, "B": "2"}) == [said]


@pytest.mark.parametrize("secret", ["abc/def", "@evil/", "evil#", "evil?", "a:b", "a\\b", "%41", "é"])
def test_a_login_from_the_environment_changes_no_host(secret: str, tmp_path: Path) -> None:
    for login in ("${A}@", "u:${A}@", "${A}:${A}@", "u:x${A}@"):
        [provider] = read(
            tmp_path, URLS["context.fileUrl"].format(f'"https://{login}h/a"'), {"A": secret}
        ).config.providers
        assert provider.context is not None
        parts = urlsplit(provider.context.file_url)
        assert (parts.hostname, parts.port, parts.path, parts.query) == ("h", None, "/a", "")
        assert unquote(parts.netloc) == f"{login.replace('${A}', secret)}h"


def test_envoy_s_side_needs_no_keys_but_what_cannot_be_one_is_wrong(tmp_path: Path) -> None:
    text = URLS["openaiCustomUrl"].format('"https://h/v1?a=${NONE}"') + "  apiTokens: ['${NONE}']\n"
    text += "clients: [{name: a, key: '${NONE}'}, {name: b, key: '${NEITHER}'}]\n"
    [provider] = load(write(tmp_path, text), {}, keyless=True).config.providers
    assert provider.upstream.authority == "h"
    with pytest.raises(ConfigError, match="must be a whole entry"):
        load(write(tmp_path, text.replace("['$", "['x$")), {}, keyless=True)


@pytest.mark.parametrize(
    ("block", "said"),
    [
        ("apiToken: PLANTED1, PLANTED2", "3: providers[0].…: unknown key; allowed: "),
        ("apiToken: PLANTED1, PLANTED.2", "3: providers[0].…: unknown key; allowed: "),
        ("apiToken: PLANTED1, PLANTED2, PLANTED2", "3: providers[0].…: said twice; "),
        ("apiToken: PLANTED1, endpiont: ", "3: providers[0].endpiont: unknown key (did you mean endpoint?)"),
        ("endpoint: 'http://:PLANTED@h'", "3: providers[0].endpoint: must be a bare http:// or https:// address"),
        ("openaiCustomUrl: 'https://u:PLANTED/x@h/v1'", "3: providers[0].openaiCustomUrl: must be a URL such as "),
        ("endpoint: 'https://u:PLANTED/x@h'", "3: providers[0].endpoint: must be a URL such as "),
        ("context: {fileUrl: 'https://u:PLANTED/x@h'}", "3: providers[0].context.fileUrl: must be a URL such as "),
        ("context: {fileUrl: 'https://[PLANTED'}", "3: providers[0].context.fileUrl: must be a URL such as "),
        ("openaiCustomUrl: 'https://u:${A}@h/v1'", "3: providers[0].openaiCustomUrl: must be a URL such as "),
        ("openaiCustomUrl: 'http://:PLANTED@h'", "3: providers[0].openaiCustomUrl: must be a URL such as "),
    ],
)
def test_keys_where_none_belong_are_not_quoted(block: str, said: str, tmp_path: Path) -> None:
    [line] = problems(tmp_path, f"providers:\n- type: openai\n  <<: {{{block}}}\n", {"A": "PLANTED/x"})
    assert line.startswith(f"config.yaml:{said}")
    assert "PLANTED" not in line
