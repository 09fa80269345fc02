"""Which configurations a place in Envoy can serve."""

from typing import Any

import pytest

from extproc.config.config import Config
from extproc.envoy.placement import Placement, attached_objection, idle_keys, objection

RETRY = {"retryOnFailure": {"enabled": True}}
EJECT = {"outlierDetection": {"consecutive5xx": 3}}


@pytest.mark.parametrize(
    ("said", "keys"),
    [
        ({}, []),
        ({"retryOnFailure": {"enabled": False}}, []),
        (RETRY, ["retryOnFailure"]),
        (EJECT, ["outlierDetection"]),
        ({**RETRY, **EJECT}, ["retryOnFailure", "outlierDetection"]),
    ],
)
def test_a_key_that_would_do_nothing_is_refused_in_our_own_gateway_and_told_of_in_another(
    said: dict[str, Any], keys: list[str]
) -> None:
    config = Config.model_validate({"providers": [{"id": "p", "type": "openai", **said}]})
    assert objection("upstream", (1, 40, 0), config) is None
    refusal = f"provider p has {keys[0]}, which needs --placement upstream" if keys else None
    assert objection("listener", (1, 36, 4), config) == refusal
    assert attached_objection(config) is None
    assert idle_keys(config) == ({"p": keys} if keys else {})


@pytest.mark.parametrize("placement", ["upstream", "listener"])
def test_envoy_counts_from_1_40_on(placement: Placement) -> None:
    config = Config.model_validate({"providers": [{"id": "p", "type": "openai", "usage": {"passed": "envoy"}}]})
    refusal = "usage.passed: envoy needs Envoy 1.40 or newer, and this is 1.39.3"
    assert objection(placement, (1, 39, 3), config) == refusal
    assert objection(placement, (1, 40, 0), config) is None
