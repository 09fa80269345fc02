"""Vendors without an address are said when that begins and when it ends."""

import pytest
from structlog.testing import capture_logs

from extproc.supervisor.addresses import Addresses
from tests.unit.player import config_of

VENDORS = [{"id": id, "type": "openai", "apiTokens": ["k"]} for id in ("a", "b")]
CONFIG = config_of({"providers": VENDORS, "routes": [{"name": "r", "provider": "a"}]})


@pytest.mark.parametrize(
    ("looks", "said"),
    [
        (["", "", ""], []),
        (["a", "", "a", ""], []),  # only for a moment, as after a change
        (["a", "a", "a"], ["-a"]),
        (["a", "a", "", "a", "a"], ["-a", "+a", "-a"]),
        (["ab", "b", "b"], ["-b"]),
        (["ax", "ax"], ["-a"]),  # clusters that are no provider's
    ],
)
async def test_it_is_said_once(looks: list[str], said: list[str]) -> None:
    answers = iter(looks)

    async def lacking() -> list[str]:
        return list(next(answers))

    addresses = Addresses(lacking, lambda: CONFIG.providers)
    with capture_logs() as logs:
        for _ in looks:
            await addresses.look()
    assert [f"{'+' if 'again' in line['event'] else '-'}{line['provider']}" for line in logs] == said
    assert all(line["host"] == "api.openai.com" for line in logs)
