"""A WasmPlugin document of every type of Higress' ai-proxy, with the keys that its documents have: it loads, or is
refused by its name."""

from collections.abc import Mapping
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from extproc.config import higress
from extproc.config.load import ConfigError, load
from extproc.config.wording import TYPES
from extproc.imports.report import take

ACCOUNT = json.dumps({"type": "service_account", "client_email": "a@b", "private_key": "x", "token_uri": "https://t"})
URL = "https://r.openai.azure.com/openai/deployments/d/chat/completions?api-version=2024-02-01"
SAFETY = {"HARM_CATEGORY_HARASSMENT": "BLOCK_NONE"}
OWN: Mapping[str, dict[str, Any]] = {
    "azure": {"azureServiceUrl": URL},
    "bedrock": {
        "awsAccessKey": "AK",
        "awsSecretKey": "SK",
        "awsRegion": "us-east-1",
        "bedrockAdditionalFields": {"top_k": 200},
        "promptCacheRetention": "24h",
        "bedrockPromptCachePointPositions": {"systemPrompt": True, "lastMessage": False},
    },
    "claude": {"claudeVersion": "2023-06-01", "claudeCodeMode": False},
    "cloudflare": {"cloudflareAccountId": "acc"},
    "doubao": {"doubaoDomain": "ark.cn-beijing.volces.com"},
    "gemini": {"geminiSafetySetting": SAFETY, "geminiThinkingBudget": 1024, "apiVersion": "v1beta"},
    "generic": {"genericHost": "h.example"},
    "minimax": {"minimaxApiType": "v2", "minimaxGroupId": "g"},
    "ollama": {"ollamaServerHost": "gpu", "ollamaServerPort": 11434},
    "openai": {"openaiCustomUrl": "https://h.example/v1"},
    "qwen": {"qwenEnableSearch": True, "qwenEnableCompatible": True, "qwenDomain": "dashscope-intl.aliyuncs.com"},
    "vertex": {
        "vertexAuthKey": ACCOUNT,
        "vertexRegion": "us-central1",
        "vertexProjectId": "p",
        "vertexAuthServiceName": "auth.dns",
        "vertexTokenRefreshAhead": 60,
        "geminiSafetySetting": SAFETY,
    },
    "vllm": {"vllmServerHost": "http-gpu.svc"},
    "zhipuai": {"zhipuDomain": "api.z.ai", "zhipuCodePlanMode": True},
}
GENERAL = {
    "timeout": 60000,
    "modelMapping": {"gpt-4*": "m", "*": ""},
    "protocol": "openai",
    "customSettings": [{"name": "max_tokens", "value": 100, "mode": "auto", "overwrite": False}],
    "failover": {"enabled": True, "failureThreshold": 3, "healthCheckModel": "m"},
    "retryOnFailure": {"enabled": True, "maxRetries": 2},
    "basePath": "",
    "hiclawMode": False,
}
KEYLESS = ("bedrock", "ollama", "vertex")


def document(type: str) -> str:
    provider = {"id": "p", "type": type, **GENERAL, **OWN.get(type, {})}
    if type not in KEYLESS:
        provider["apiTokens"] = ["k-1", "k-2"]
    else:
        del provider["failover"]
    config = {"providers": [provider], "activeProviderId": "p"}
    rule = {"service": ["llm-p.internal.dns"], "config": {"activeProviderId": "p"}}
    spec = {"defaultConfig": config, "matchRules": [rule], "priority": 100, "url": "oci://x/ai-proxy:2.0.0"}
    return yaml.safe_dump({"kind": "WasmPlugin", "metadata": {"name": "ai-proxy.internal"}, "spec": spec})


@pytest.mark.parametrize("type", sorted(higress.TYPES))
def test_a_document_of_every_type_pastes(type: str, tmp_path: Path) -> None:
    path = tmp_path / "plugin.yaml"
    path.write_text(document(type))
    if type not in TYPES:
        with pytest.raises(ConfigError, match=rf"plugin.yaml:\d+: .*type {type} is a provider of Higress"):
            load(path, {})
        assert any(f"providers of type {type} are not supported yet" in str(lost) for lost in take(path, {}).lost)
        return
    (provider,) = load(path, {}).config.providers
    assert provider.type == type
    taken = take(path, {})
    assert not taken.wrong
    assert not taken.lost
