"""Our own methods keep the contract; `unpruned` is exempt, because it removes nothing."""

from typing import Any

import pytest

from bench.plugins.registry import METHODS
from bench.testing.checks import check_method

NAMES = [
    name
    for name in METHODS.names()
    if METHODS.get(name).__module__.startswith("methods.") and name != "unpruned"
]
# Options for speed; the methods pass with their defaults too.
FASTER: dict[str, dict[str, Any]] = {
    "autoslim": {"groups": 4, "crops": 4},
    "random_search": {"samples": 10},
}


@pytest.mark.parametrize("name", NAMES)
def test_it_keeps_every_promise(name: str) -> None:
    assert [
        (finding.name, finding.reason)
        for finding in check_method(METHODS.get(name), FASTER.get(name))
        if finding.status != "passed"
    ] == []
