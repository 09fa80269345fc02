"""`extproc attach`: wrong use, in words that say what to do."""

from pathlib import Path

from click.testing import CliRunner
import pytest

from extproc.__main__ import cli

PLAIN = "providers: [{type: qwen, apiTokens: [k]}]\n"
NAMED = PLAIN + "routes: [{name: r, match: {ingress: [qwen]}, provider: qwen}]\n"
TWO = """\
providers: [{id: a, type: qwen, apiTokens: [k]}, {id: b, type: qwen, apiTokens: [k]}]
routes: [{name: r, match: {ingress: [qwen]}, provider: [{provider: a}, {provider: b}]}]
"""

WRONG = [
    (PLAIN, ["higress"], "say the gateway's routes with --route"),
    (NAMED, ["istio", "--gateway", "my-gateway"], "KEY=VALUE"),
    (NAMED, ["envoy-gateway", "--route", "kimi"], "--route kimi: no `ingress`"),
    (NAMED, ["higress", "--sidecar", "unix:/run/extproc.sock"], "use HOST:PORT"),
    (TWO, ["envoy"], "several providers, which needs --placement upstream"),
]


@pytest.mark.parametrize(("config", "arguments", "message"), WRONG, ids=[m for _, _, m in WRONG])
def test_wrong_use_says_what_to_do(config: str, arguments: list[str], message: str, tmp_path: Path) -> None:
    path = tmp_path / "gateway.yaml"
    path.write_text(config)
    result = CliRunner().invoke(cli, ["attach", *arguments, "--config", str(path)])
    assert result.exit_code != 0
    assert message in result.output + str(result.exception)


def test_no_key_is_needed_and_none_is_printed(tmp_path: Path) -> None:
    path = tmp_path / "gateway.yaml"
    path.write_text(NAMED.replace("[k]", '["${NOT_SET}", sk-literal-key]'))
    for plane in ("envoy", "istio", "higress", "envoy-gateway"):
        result = CliRunner().invoke(cli, ["attach", plane, "--config", str(path)])
        assert result.exit_code == 0, result.output
        assert "sk-literal-key" not in result.output
