"""Secrets in a configuration that is refused, or noted, stay secret."""

from pathlib import Path

import pytest

from tests.unit.configurations import problems, read

SECRET = "sk-do-not-print-me"


@pytest.mark.parametrize(
    "text",
    [
        f"providers: [{{type: qwen, apiTokens: [{SECRET}, 5]}}]",
        f"providers: [{{type: qwen, apiTokens: {{a: {SECRET}}}}}]",
        f"providers: [{{type: qwen, apiTokens: ['{SECRET} two words']}}]",
        f'providers: [{{type: qwen, apiToken: "{SECRET}\\nx-evil: 1"}}]',
        f"providers: [{{type: qwen, apiToken: '{SECRET}${{x}}'}}]",
        f"providers: [{{type: qwen, apiTokesn: {SECRET}}}]",
        f"providers: [{{type: qwen, apiToken: {SECRET}, modelMapping: 4}}]",
        f"providers: [{{type: qwen, apiToken: {SECRET}, apiToken: {SECRET}}}]",
        f"provider: {{type: qwen, apiToken: {SECRET}\nproviders: []",
    ],
)
def test_secrets_stay_secret(tmp_path: Path, text: str) -> None:
    assert SECRET not in "\n".join(problems(tmp_path, text))


HEXADECIMAL = "0123456789abcdef0123456789ABCDEF"


@pytest.mark.parametrize(
    "text",
    [
        f"providers: [{{type: {SECRET}}}]",
        f"providers: [{{type: {HEXADECIMAL}}}]",
        f"providers: [{{type: qwen, id: '{SECRET} ', apiToken: x}}]",
        f"providers: [{{type: openai, {SECRET}: a, {SECRET}: b}}]",
        f"providers: [{{type: openai, modelMapping: {SECRET}}}]",
        f"providers: [{{type: openai, tls: Bearer {SECRET}}}]",
        f"providers: [{{type: openai}}]\nroutes: [{{name: a, provider: {SECRET}}}]",
        f"providers:\n- type: qwen\n  apiTokens:{SECRET}",
        f"providers:\n- apiTokens:{SECRET}",
        f"{SECRET}\n",
        "providers: [{type: qwen, apiTokens: {plain-secret: 1, plain-secret: 2}}]",
        "providers: [{type: qwen, apiTokens: [*plain-secret]}]",
        "providers: [{type: qwen, apiTokens: [!plain-secret x]}]",
        "providers: [{type: qwen, apiTokens: [!plain-secret!x y]}]",
        "providers: [{type: qwen, apiTokens: [&plain-secret 1, &plain-secret 2]}]",
        "providers: [{type: qwen, apiTokens:plain-secret}]",
        "apiTokens:plain-secret\n",
    ],
)
def test_secrets_where_none_belongs_stay_secret(
    tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    found = "\n".join([*problems(tmp_path, text), *(str(w.message) for w in recwarn), *capsys.readouterr()])
    assert [secret for secret in (SECRET, HEXADECIMAL, "plain-secret") if secret in found] == []


def test_secrets_in_notes_stay_secret(tmp_path: Path) -> None:
    text = f"providers: [{{type: openai, id: x}}, {{type: openai, id: {SECRET}}}]\nactiveProviderId: x"
    assert read(tmp_path, text).notes == ("provider sk-…: listed, but not active, so it is left out",)
