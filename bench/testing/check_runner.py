"""Findings: what a check found, and how checks are made.

A check is a function of what is examined. Its name is what it looks at, the first line of its
docstring what is promised. It returns nothing, or raises Broken with a sentence that says what was
asked, what was found and what to do. A check that another one makes pointless is skipped. Whatever
the examined code raises is the finding of one check and never stops the others.
"""

import traceback
from collections.abc import Callable
from dataclasses import dataclass
from inspect import getdoc, getfile
from pathlib import Path
from typing import Any, Literal, Protocol


@dataclass(frozen=True)
class Finding:
    """The outcome of one check.

    Args:
        name: of the check, in words.
        status: "passed", "failed" or "skipped".
        reason: the promise, what is wrong and what to do, or why it was not looked at: one line.
    """

    name: str
    status: Literal["passed", "failed", "skipped"]
    reason: str


class Broken(Exception):
    """The promise is not kept; its text says how."""


class Skipped(Exception):
    """There is nothing to look at; its text says why."""


class Examined(Protocol):
    """What is examined, with the findings so far."""

    cls: Any
    findings: dict[str, Finding]


Check = Callable[[Any], None]


def look(check: Check, examined: Examined) -> Finding:
    """What a check finds; it is made once."""
    name = named(check)
    if name not in examined.findings:
        examined.findings[name] = _made(check, name, examined)
    return examined.findings[name]


def needs(check: Check, examined: Examined) -> None:
    """Raises Skipped unless that other check passes."""
    if look(check, examined).status != "passed":
        raise Skipped(f"not looked at before '{named(check)}' passes")


def named(check: Check) -> str:
    """The name of a check in words."""
    return check.__name__.replace("_", " ")


def raised(error: BaseException, cls: Any) -> str:
    """An exception in one line: its kind, its text, and the last line of the examined file that it went through."""
    frames = traceback.extract_tb(error.__traceback__)
    try:
        own = [frame for frame in frames if frame.filename == getfile(cls)]
    except (TypeError, OSError):  # not a class, or one that was typed in
        own = []
    place = (own or frames)[-1] if frames else None
    where = f" ({Path(place.filename).name}, line {place.lineno})" if place else ""
    return f"{type(error).__name__}: {error}{where}"


def _made(check: Check, name: str, examined: Examined) -> Finding:
    try:
        check(examined)
    except Broken as broken:
        return Finding(name, "failed", _one_line(str(broken)))
    except Skipped as skipped:
        return Finding(name, "skipped", _one_line(str(skipped)))
    except Exception as error:
        return Finding(name, "failed", _one_line(f"it ended in {raised(error, examined.cls)}"))
    return Finding(name, "passed", (getdoc(check) or name).splitlines()[0])


def _one_line(text: str) -> str:
    return " ".join(text.split())
