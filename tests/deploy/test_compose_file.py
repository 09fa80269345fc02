"""docker-compose.yml as a file: what a run of the stack on one machine would not show."""

from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.contract.processes import ROOT

COMPOSE = YAML(typ="safe").load(ROOT / "docker-compose.yml")
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]


@pytest.mark.parametrize("service", SERVICES)
def test_no_mount_is_made_where_it_is_missing(service: str) -> None:
    """An engine makes a directory of a bind's source that is not there, also in a file's place."""
    for volume in SERVICES[service].get("volumes", ()):
        if isinstance(volume, str):
            assert volume.partition(":")[0] in COMPOSE["volumes"]
        elif volume["type"] == "bind":
            assert volume["bind"] == {"create_host_path": False}


@pytest.mark.parametrize("service", ["extproc", "envoy"])
def test_a_shell_is_not_process_1(service: str) -> None:
    assert SERVICES[service]["init"] is True


def test_a_changed_listener_cuts_no_answer_that_the_chart_would_let_end() -> None:
    options = SERVICES["envoy"]["command"]
    chart = (ROOT / "deploy/helm/ai-proxy/templates/_containers.tpl").read_text()
    for option in ("--drain-strategy", "--drain-time-s"):
        value = options[options.index(option) + 1]
        assert f'- "{value}"' in chart or f"- {value}\n" in chart


def test_the_chat_page_s_health_is_asked_through_no_proxy() -> None:
    words = SERVICES["nextchat"]["healthcheck"]["test"]
    assert words[words.index("-Y") + 1] == "off"
