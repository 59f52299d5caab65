"""The checks as pytest classes with one test for each check, for your own method or task.

A test file needs only a subclass:

    from prunebench import MethodContract

    from mine import Mine

    class TestMine(MethodContract):
        method = Mine
        options = {"samples": 4}      # if the defaults are meant for large networks
"""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import pytest

from bench.contract import Method, Task
from bench.testing.check_runner import Check, Subject, run_check
from bench.testing.checks import METHOD_CHECKS, TASK_CHECKS
from bench.testing.method_runs import MethodEvidence
from bench.testing.task_checks import TaskEvidence


class Contract:
    """Base class: the tests of one class share their subject and its findings."""

    options: ClassVar[Mapping[str, Any]] = {}
    _subject: ClassVar[Subject]

    @classmethod
    def subject(cls) -> Subject:
        """Return the subject of all tests; the first test makes it."""
        if "_subject" not in vars(cls):
            cls._subject = cls.make_subject()
        return cls._subject

    @classmethod
    def make_subject(cls) -> Subject:
        """Return a new subject without findings."""
        raise NotImplementedError


class MethodContract(Contract):
    """One test for each promise of a method; set `method` in a subclass."""

    method: ClassVar[type[Method]]

    @classmethod
    def make_subject(cls) -> Subject:
        """Return the evidence of the method, which has not been called yet."""
        return MethodEvidence(cls.method, cls.options)


class TaskContract(Contract):
    """One test for each promise of a task; set `task`, and `data` for a folder, in a subclass."""

    task: ClassVar[type[Task]]
    data: ClassVar[str] = "embedded"

    @classmethod
    def make_subject(cls) -> Subject:
        """Return the evidence of the task, which has not been used yet."""
        return TaskEvidence(cls.task, cls.options, cls.data)


def _make_test(check: Check) -> Callable[[Any], None]:
    def test(self: Contract) -> None:
        finding = run_check(check, self.subject())
        if finding.status == "failed":
            pytest.fail(finding.reason, pytrace=False)
        if finding.status == "skipped":
            pytest.skip(finding.reason)

    test.__doc__ = check.__doc__
    return test


for _contract, _checks in ((MethodContract, METHOD_CHECKS), (TaskContract, TASK_CHECKS)):
    for _check in _checks:
        setattr(_contract, f"test_{_check.__name__}", _make_test(_check))
