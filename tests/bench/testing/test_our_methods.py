"""Our own methods keep the contract, with their default options. `unpruned` is exempt: it removes nothing."""

import pytest

from bench.registry import METHODS
from bench.testing.checks import check_method

NAMES = [name for name in METHODS.names() if METHODS.get(name).__module__.startswith("methods.") and name != "unpruned"]


@pytest.mark.parametrize("name", NAMES)
def test_it_keeps_every_promise(name: str) -> None:
    assert [(finding.name, finding.reason) for finding in check_method(METHODS.get(name)) if finding.status != "passed"] == []
