"""The documents that Envoy follows: the same as in a bootstrap, versions made of content, written as a whole."""

from dataclasses import replace
import json
from pathlib import Path
from typing import Any

import pytest

from extproc.config.config import Config
from extproc.config.load import Loaded
from extproc.envoy import directory, xds
from extproc.envoy.bootstrap import Options, bootstrap, static
from extproc.envoy.clusters import Member, member_cluster

OPTIONS = Options(xds_directory="/dir", access_log=None)


def config(*ids: str, **more: Any) -> Config:
    providers = [{"id": id, "type": "openai", "endpoint": f"https://{id}.test"} for id in ids]
    return Config.model_validate({"providers": providers, "routes": [{"name": "r", "provider": ids[0]}], **more})


def resources(document: str) -> list[dict[str, Any]]:
    return [{k: v for k, v in each.items() if k != "@type"} for each in json.loads(document)["resources"]]


def test_they_say_what_a_bootstrap_says() -> None:
    given = config("a", "b", corsOrigins=["*"])
    whole = json.loads(bootstrap(given, static(OPTIONS)))["static_resources"]
    parted = json.loads(bootstrap(given, OPTIONS))
    sidecar, *providers = whole["clusters"]
    assert parted["static_resources"] == {"clusters": [sidecar]}
    assert resources(xds.clusters(given, (), OPTIONS, {})) == providers
    [listener] = resources(xds.listeners(given, OPTIONS))
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    assert manager.pop("rds")["config_source"]["path_config_source"]["path"] == "/dir/routes.json"
    assert manager.get("route_config") is None
    [manager["route_config"]] = resources(xds.routes(given, OPTIONS))
    assert [listener] == whole["listeners"]
    for name in ("cds_config", "lds_config"):
        source = parted["dynamic_resources"][name]["path_config_source"]
        assert source["watched_directory"] == {"path": "/dir"}


def test_former_providers_stay_as_they_were_and_present_ones_win() -> None:
    former = config("a", "gone", maxBodyBytes=100 << 20)
    found = resources(xds.clusters(config("a", "new"), [former], OPTIONS, {}))
    assert [each["name"] for each in found] == ["a", "new", "gone"]
    limits = [each["per_connection_buffer_limit_bytes"] for each in found]
    assert limits[0] == limits[1] < limits[2]


def test_a_change_renders_what_it_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    def counted(member: Member, options: Options, limit: int) -> Any:
        made.append(member.name)
        return member_cluster(member, options, limit)

    monkeypatch.setattr(xds, "member_cluster", counted)
    ids = [f"scale-{number}" for number in range(50)]
    before = config(*ids)
    xds.clusters(before, (), OPTIONS, {})
    assert sorted(made) == sorted(ids)
    made.clear()
    after = config(*ids, "added")
    changed = after.model_copy(update={"providers": (*after.providers[:-2], *config("scale-49x", "added").providers)})
    document = xds.clusters(changed, [before], OPTIONS, {})
    assert made == ["scale-49x", "added"]
    assert [one["name"] for one in resources(document)] == [*ids[:-1], "scale-49x", "added", "scale-49"]
    assert xds.clusters(changed, (), OPTIONS, {}).count('"name":"scale-49"') == 0
    other = replace(OPTIONS, ca_file="/other.pem")
    assert xds.clusters(after, (), other, {}) != xds.clusters(after, (), OPTIONS, {})


def test_a_version_changes_with_the_content() -> None:
    one, same, other = (xds.clusters(config(*ids), (), OPTIONS, {}) for ids in (("a",), ("a",), ("a", "b")))
    assert xds.version(one) == xds.version(same) != xds.version(other)


def test_a_ca_bundle_that_changed_changes_its_cluster() -> None:
    provider = {"id": "a", "type": "openai", "tls": {"caFile": "/ca.pem"}}
    given = Config.model_validate({"providers": [provider]})
    versions = {xds.version(xds.clusters(given, (), OPTIONS, {"/ca.pem": content})) for content in (b"1", b"2")}
    assert len(versions) == 2


def inodes(path: Path) -> dict[str, int]:
    return {file.name: file.stat().st_ino for file in path.iterdir()}


async def test_a_directory_is_made_opened_and_kept_fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory, "BLIND_SECONDS", 0.0)
    options = replace(OPTIONS, xds_directory=str(tmp_path))
    directory.created(tmp_path, options, Loaded(config("a"), (), "x"))
    names = {"options.json", "clusters.json", "listeners.json", "routes.json"}
    assert inodes(tmp_path).keys() == names
    opened = directory.opened(tmp_path)
    before = inodes(tmp_path)
    await opened.expect(Loaded(config("a", "b"), (), "x"), [Loaded(config("a"), (), "x")])
    await opened.follow(Loaded(config("a", "b"), (), "x"))
    # A file of its own, renamed onto; the others say the same.
    assert {name for name, inode in inodes(tmp_path).items() if inode != before[name]} == {"clusters.json"}


async def test_envoy_is_asked_for_the_versions_that_were_written(tmp_path: Path) -> None:
    asked: list[dict[str, str]] = []

    async def confirm(versions: Any) -> bool:
        asked.append(dict(versions))
        return True

    made = directory.Directory(replace(OPTIONS, xds_directory=str(tmp_path)), confirm=confirm)
    made.write_all(Loaded(config("a"), (), "x"))
    await made.expect(Loaded(config("a"), (), "x"), [])
    assert asked == []
    await made.expect(Loaded(config("b"), (), "x"), [])
    version = xds.version((tmp_path / "clusters.json").read_text())
    assert asked == [{"cluster_manager.cds.version_text": version}]


def test_a_write_that_fails_leaves_what_was(tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_text("before")
    with pytest.raises(UnicodeEncodeError):
        directory.write(target, "\ud800")
    assert target.read_text() == "before"
    assert list(tmp_path.iterdir()) == [target]
