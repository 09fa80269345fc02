"""What `extproc attach` prints and deploy/ holds, against the control planes' own schemas, and Envoy's.

Rule: the schemas are fetched, pinned by version and checksum (`online.py`). A key that a schema does not know is an
error: Kubernetes would drop it without a word. Rules in CEL (`x-kubernetes-validations`) are not evaluated.
"""

from collections.abc import Iterator
from functools import cache
import json
from pathlib import Path
import re
from typing import Any

from jsonschema import Draft202012Validator
import pytest

from extproc.envoy.process import validate_text
from tests.attach import gateways, online
from tests.attach.test_attached import PLANES, config_of, printed

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def schemas(request: pytest.FixtureRequest) -> dict[tuple[str, str], Any]:
    """Schemas by `apiVersion` and `kind`."""
    found: dict[tuple[str, str], Any] = {}
    for module, files in _modules().items():
        directory = request.config.cache.mkdir(module.replace("/", "-")) / "files"
        online.fetched(directory, module, online.go_module(module, files))
        for path in sorted(directory.glob("*.yaml")):
            found |= dict(_schemas(path))
    return found


def _modules() -> dict[str, dict[str, str]]:
    """Go modules → files in them → checksums."""
    modules: dict[str, dict[str, str]] = {}
    for line in (Path(__file__).parent / "schemas.sha256").read_text().splitlines():
        checksum, place = line.split()
        module, version, path = re.split(r"@([^/]+)/", place)
        modules.setdefault(f"{module}@{version}", {})[path] = checksum
    return modules


@cache
def _read(path: Path) -> list[Any]:
    return gateways.read(path)


def _schemas(path: Path) -> Iterator[tuple[tuple[str, str], Any]]:
    for document in _read(path):
        if document["kind"] == "CustomResourceDefinition":
            spec = document["spec"]
            for version in spec["versions"]:
                schema = _closed(version["schema"]["openAPIV3Schema"])
                schema["properties"] |= {"apiVersion": True, "kind": True, "metadata": True}
                yield (f"{spec['group']}/{version['name']}", spec["names"]["kind"]), schema


def _closed(schema: Any) -> Any:
    """A schema that takes no keys but those it knows."""
    if isinstance(schema, list):
        return [_closed(entry) for entry in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: value if key in ("enum", "default") else _closed(value) for key, value in schema.items()}
    known = isinstance(schema.get("properties"), dict) and schema.get("type") == "object"
    if known and not schema.get("x-kubernetes-preserve-unknown-fields"):
        closed.setdefault("additionalProperties", False)
    return closed


def check(documents: list[Any], schemas: dict[tuple[str, str], Any]) -> None:
    for document in documents:
        schema = schemas[document["apiVersion"], document["kind"]]
        problems = [
            f"{error.json_path}: {error.message}" for error in Draft202012Validator(schema).iter_errors(document)
        ]
        assert problems == []


FILES = {
    "istio": ROOT / "deploy/istio/envoyfilter.yaml",
    "higress": ROOT / "deploy/higress/envoyfilter.yaml",
    "envoy-gateway": ROOT / "deploy/envoy-gateway/ai-proxy.yaml",
    "envoy": ROOT / "deploy/envoy/snippet.yaml",
}


@pytest.mark.parametrize("plane", ["istio", "higress", "envoy-gateway"])
def test_the_files_in_deploy_fit_their_schemas(plane: str, schemas: dict[tuple[str, str], Any]) -> None:
    documents = gateways.read(FILES[plane])
    assert documents
    check(documents, schemas)


@pytest.mark.parametrize("plane", ["istio", "higress", "envoy-gateway"])
def test_what_is_printed_fits(plane: str, schemas: dict[tuple[str, str], Any], tmp_path: Path) -> None:
    options = ("--config", str(config_of(plane)), "--workers", "2", "--namespace", "edge", "--gateway", "app=edge")
    options = options if plane != "envoy-gateway" else (*options[:4], *gateways.IN_ENVOY_GATEWAY)
    documents = printed(tmp_path, plane, *options)
    check(documents, schemas)
    assert {document["metadata"]["namespace"] for document in documents} == {"edge"}


def test_a_key_that_a_schema_lacks_is_seen(schemas: dict[tuple[str, str], Any]) -> None:
    documents = gateways.read(FILES["envoy-gateway"])
    policy = next(d for d in documents if d["kind"] == "EnvoyExtensionPolicy")
    policy["spec"]["extProc"][0]["mutationRules"] = {"allowAllRouting": True}
    with pytest.raises(AssertionError, match="mutationRules"):
        check(documents, schemas)


@pytest.mark.parametrize("plane", PLANES)
def test_envoy_takes_what_is_in_deploy(plane: str, tmp_path: Path) -> None:
    foreign = gateways.foreign("127.0.0.1:1", "127.0.0.1:2", tmp_path / "access.log")
    for route in gateways.routes(foreign):
        name = route.get("name", "")
        route["name"] = {"azure": "azure-openai", "kimi": "moonshot"}.get(name, name)
    validate_text(json.dumps(gateways.attached(plane, foreign, gateways.read(FILES[plane]))))


def test_where_an_attachment_differs_from_our_own_gateway() -> None:
    """The filter is that of our own listener placement but for the three lines that make it somebody else's."""
    from extproc.envoy.bootstrap import Options, bootstrap, example_config

    own = json.loads(bootstrap(example_config(), Options(placement="listener")))
    [ours] = [f for f in gateways.manager(own)["http_filters"] if "ext_proc" in f["name"]]
    [theirs] = [d["http_filter"] for d in gateways.read(FILES["envoy"])]
    config, other = ours["typed_config"], theirs["typed_config"]
    assert {key for key in config | other if config.get(key) != other.get(key)} == {
        "processing_mode",
        "route_cache_action",
    }
    assert other["route_cache_action"] == "RETAIN"
    assert not other.get("failure_mode_allow")
