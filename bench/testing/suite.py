"""The checks as classes for pytest, one test for each, for the repository of a method or a task:

from bench.testing.suite import MethodContract
from mine import Mine

class TestMine(MethodContract):
    method = Mine
    options = {"samples": 4}      # where the defaults are meant for large networks
"""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import pytest

from bench.contract import Method
from bench.testing.checks import METHOD_CHECKS
from bench.testing.evidence import Evidence
from bench.testing.findings import Check, Examined, look


class MethodContract:
    """What every method promises."""

    method: ClassVar[type[Method]]
    options: ClassVar[Mapping[str, Any]] = {}

    @classmethod
    def examined(cls) -> Examined:
        """The method and what is known of it; the tests of a class share it."""
        if "_examined" not in vars(cls):
            cls._examined = Evidence(cls.method, cls.options)
        return cls._examined

    _examined: ClassVar[Examined]


def _test(check: Check) -> Callable[[Any], None]:
    def test(self: Any) -> None:
        finding = look(check, self.examined())
        if finding.status == "failed":
            pytest.fail(finding.reason, pytrace=False)
        if finding.status == "skipped":
            pytest.skip(finding.reason)

    test.__doc__ = check.__doc__
    return test


for _check in METHOD_CHECKS:
    setattr(MethodContract, f"test_{_check.__name__}", _test(_check))
