"""The checks as classes for pytest, one test for each, for the repository of a method or a task:

from bench.testing.pytest_suite import MethodContract
from mine import Mine

class TestMine(MethodContract):
    method = Mine
    options = {"samples": 4}      # where the defaults are meant for large networks
"""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import pytest

from bench.contract import Method, Task
from bench.testing.check_runner import Check, Examined, look
from bench.testing.checks import METHOD_CHECKS, TASK_CHECKS
from bench.testing.method_runs import Evidence
from bench.testing.task_checks import TaskEvidence


class Contract:
    """What the tests of one class share: what is examined, with all that was found out about it."""

    options: ClassVar[Mapping[str, Any]] = {}
    _examined: ClassVar[Examined]

    @classmethod
    def examined(cls) -> Examined:
        """Made for the first test."""
        if "_examined" not in vars(cls):
            cls._examined = cls.begin()
        return cls._examined

    @classmethod
    def begin(cls) -> Examined:
        """Nothing is known yet."""
        raise NotImplementedError


class MethodContract(Contract):
    """What every method promises."""

    method: ClassVar[type[Method]]

    @classmethod
    def begin(cls) -> Examined:
        """The method, not yet called."""
        return Evidence(cls.method, cls.options)


class TaskContract(Contract):
    """What every task promises, on the photographs of `data`."""

    task: ClassVar[type[Task]]
    data: ClassVar[str] = "embedded"

    @classmethod
    def begin(cls) -> Examined:
        """The task, not yet asked."""
        return TaskEvidence(cls.task, cls.options, cls.data)


def _test(check: Check) -> Callable[[Any], None]:
    def test(self: Contract) -> None:
        finding = look(check, self.examined())
        if finding.status == "failed":
            pytest.fail(finding.reason, pytrace=False)
        if finding.status == "skipped":
            pytest.skip(finding.reason)

    test.__doc__ = check.__doc__
    return test


for _contract, _checks in ((MethodContract, METHOD_CHECKS), (TaskContract, TASK_CHECKS)):
    for _check in _checks:
        setattr(_contract, f"test_{_check.__name__}", _test(_check))
