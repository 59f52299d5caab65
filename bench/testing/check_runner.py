"""Running of checks, and their findings.

A check is a function of one argument, its subject: the evidence about a method or a task. The name
of the function is the name of the check, and the first line of its docstring is the promise that it
checks. The function returns None, or raises CheckFailed with a sentence that says what was asked,
what was found and what to do. A check is skipped if it depends on another one that does not pass.
Any exception of the examined code fails one check and never stops the others.
"""

import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from inspect import getdoc, getfile
from pathlib import Path
from typing import Any, Literal, Protocol


@dataclass(frozen=True)
class Finding:
    """The outcome of one check.

    Args:
        name: name of the check, in words.
        status: "passed", "failed" or "skipped".
        reason: one line: the promise; or the fault and what to do; or why it was skipped.
    """

    name: str
    status: Literal["passed", "failed", "skipped"]
    reason: str


class CheckFailed(Exception):
    """The promise is broken; the text says in what way."""


class CheckSkipped(Exception):
    """The check cannot be run; the text says why."""


class Subject(Protocol):
    """The evidence about one class, with the findings so far."""

    cls: Any
    findings: dict[str, Finding]


Check = Callable[[Any], None]


def run_check(check: Check, subject: Subject) -> Finding:
    """Run a check, once for each subject, and return its finding."""
    name = check_name(check)
    if name not in subject.findings:
        subject.findings[name] = _run(check, name, subject)
    return subject.findings[name]


def require(check: Check, subject: Subject) -> None:
    """Raise CheckSkipped unless another check passes."""
    if run_check(check, subject).status != "passed":
        raise CheckSkipped(f"not checked until '{check_name(check)}' passes")


def raise_first_fault(faults: Iterable[str]) -> None:
    """Raise CheckFailed with the first of the faults, if there is one."""
    fault = next(iter(faults), None)
    if fault is not None:
        raise CheckFailed(fault)


def check_name(check: Check) -> str:
    """Return the name of a check in words."""
    return check.__name__.replace("_", " ")


def describe_exception(error: BaseException, cls: Any) -> str:
    """Describe an exception in one line: type, text, and position in the file of a class.

    The position is the last line of the class's file in the traceback; of any file if there is
    none.
    """
    frames = traceback.extract_tb(error.__traceback__)
    try:
        own_frames = [frame for frame in frames if frame.filename == getfile(cls)]
    except (TypeError, OSError):  # not a class, or a class without a file
        own_frames = []
    frame = (own_frames or frames)[-1] if frames else None
    position = f" ({Path(frame.filename).name}, line {frame.lineno})" if frame else ""
    return f"{type(error).__name__}: {error}{position}"


def _run(check: Check, name: str, subject: Subject) -> Finding:
    try:
        check(subject)
    except CheckFailed as failure:
        return Finding(name, "failed", _join_lines(str(failure)))
    except CheckSkipped as skip:
        return Finding(name, "skipped", _join_lines(str(skip)))
    except Exception as error:
        description = describe_exception(error, subject.cls)
        return Finding(name, "failed", _join_lines(f"it ended in {description}"))
    return Finding(name, "passed", (getdoc(check) or name).splitlines()[0])


def _join_lines(text: str) -> str:
    return " ".join(text.split())
