"""How hard to look: a glance with every test run, for as long as told with `make fuzz` (FUZZ: examples per test)."""

from collections.abc import Callable
import os
from typing import Any

from hypothesis import HealthCheck, settings

EXAMPLES = int(os.environ.get("FUZZ", "0"))
DEFAULT = 60


def fuzzed(share: float = 1.0) -> Callable[[Any], Any]:
    """The settings of a fuzz test. `share`: of the usual number of examples, for those that are dear.

    A glance looks at the same examples every time, so that it does not fail for a change that is not to blame.
    """
    return settings(
        max_examples=max(1, int((EXAMPLES or DEFAULT) * share)),
        deadline=None,
        derandomize=not EXAMPLES,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
