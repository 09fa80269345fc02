"""The chart as `helm template` renders it, and the values that it is looked at with."""

import base64
from collections.abc import Iterator, Mapping
import os
from pathlib import Path
import subprocess
from typing import Any

import pytest
from ruamel.yaml import YAML

from tools.helm import SERVICE_MONITOR
from tools.manifests import CHART, helm

ROOT = Path(__file__).parents[2]

__all__ = [
    "CHART",
    "COMBINATIONS",
    "ROOT",
    "Manifests",
    "fields",
    "mounted",
    "program",
    "render",
    "service_monitor",
    "template",
]

Values = Mapping[str, Any]
Manifests = list[dict[str, Any]]

GATEWAY = [{"podSelector": {"matchLabels": {"app": "gateway"}}}]
COMBINATIONS: dict[str, Values] = {
    "defaults": {},
    "sidecar with everything": {
        "workers": 3,
        "placement": "listener",
        "drainSeconds": 30,
        "keys": {"values": {"dashscope": "sk-PLANTED-1", "kimi": "sk-PLANTED-2\nsk-PLANTED-3"}},
        "config": {
            "providers": [
                {"id": "qwen", "type": "qwen", "apiTokens": ["file:../keys/dashscope"]},
                {"id": "kimi", "type": "moonshot", "apiTokens": "file:../keys/kimi"},
            ],
            "routes": [
                {"name": "kimi", "match": {"models": ["kimi-*"]}, "provider": "kimi"},
                {"name": "all", "provider": "qwen"},
            ],
            "redis": {"url": "redis://user:${REDIS_PASSWORD}@redis:6379/0"},
        },
        "files": {"company.md": "We sell “tea”.\n", "ca.crt": "-----BEGIN CERTIFICATE-----\n"},
        "extraEnv": [{"name": "REDIS_PASSWORD", "valueFrom": {"secretKeyRef": {"name": "redis", "key": "password"}}}],
        "autoscaling": {"enabled": True, "maxReplicas": 50},
        "metrics": {
            "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
            "prometheusRule": {"enabled": True, "labels": {"release": "prometheus"}},
        },
        "service": {"type": "LoadBalancer", "port": 8080, "annotations": {"example.com/internal": "true"}},
        "networkPolicy": {
            "from": GATEWAY,
            "monitoringFrom": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}],
            "egress": [{"ports": [{"port": 443, "protocol": "TCP"}, {"port": 6379, "protocol": "TCP"}]}],
        },
        "imagePullSecrets": [{"name": "registry"}],
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [{"key": "gateway", "operator": "Exists"}],
        "affinity": {"podAntiAffinity": {}},
        "priorityClassName": "high",
        "serviceAccountName": "gateway",
        "podAnnotations": {"example.com/team": "ai"},
        "podLabels": {"team": "ai"},
    },
    "sidecar, everything off": {
        "networkPolicy": {"enabled": False},
        "podDisruptionBudget": {"enabled": False},
        "topologySpread": False,
        "existingConfigMap": "my-config",
        "keys": {"existingSecret": "my-keys"},
        "replicas": 1,
        "fullnameOverride": "gateway",
    },
    "separate": {"mode": "separate", "networkPolicy": {"from": GATEWAY}},
    "separate with mutual TLS and workers": {
        "mode": "separate",
        "workers": 4,
        "tls": {"existingSecret": "sidecar-tls"},
        "autoscaling": {"enabled": True},
        "metrics": {"serviceMonitor": {"enabled": True}},
    },
}


def program() -> str:
    """helm; without one the test is skipped, but not where CI says that there is one."""
    try:
        return helm()
    except FileNotFoundError as error:
        if os.environ.get("REQUIRE_HELM"):
            raise
        pytest.skip(str(error))


def service_monitor() -> Any:
    """The CustomResourceDefinition of ServiceMonitor."""
    if not SERVICE_MONITOR.exists() and not os.environ.get("REQUIRE_HELM"):
        pytest.skip("the definition of ServiceMonitor is not there; try: make helm")
    return YAML(typ="safe").load(SERVICE_MONITOR)


def template(values: Values, directory: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """`helm template` with these values."""
    path = directory / "values.yaml"
    with path.open("w") as file:
        YAML(typ="safe").dump(dict(values), file)
    command = (program(), "template", "ai", str(CHART), "--namespace", "prod", "--values", str(path), *options)
    return subprocess.run(command, capture_output=True, text=True, check=False)


def render(values: Values, directory: Path) -> Manifests:
    """What helm renders for these values."""
    done = template(values, directory)
    assert done.returncode == 0, done.stderr
    return [document for document in YAML(typ="safe").load_all(done.stdout) if document]


def fields(value: Any, name: str) -> Iterator[Any]:
    """Every value under this name, however deep."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == name:
                yield inner
            yield from fields(inner, name)
    elif isinstance(value, list):
        for inner in value:
            yield from fields(inner, name)


def mounted(documents: Manifests) -> tuple[dict[str, str], dict[str, str]]:
    """What is in the ConfigMap and in the Secret."""
    (config,) = [d["data"] for d in documents if d["kind"] == "ConfigMap"]
    secrets = [item for d in documents if d["kind"] == "Secret" for item in d["data"].items()]
    return config, {name: base64.b64decode(data).decode() for name, data in secrets}
