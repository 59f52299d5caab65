"""What was read is held against the annotations of what it becomes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import pytest

from bench.files.schema import DEEPEST, check_fields


class Line(TypedDict):
    op: str
    note: NotRequired[str]


@dataclass
class Answer:
    count: int
    share: float | None
    state: Literal["done", "failed"]
    shape: tuple[int, int]
    names: list[str]
    lines: tuple[Annotated[Mapping[str, Any], Line], ...]
    label: Annotated[str, 5]
    rest: Any


GOOD = {
    "count": 1,
    "share": 1,
    "state": "done",
    "shape": [1, 2],
    "names": ["a"],
    "lines": [{"op": "x", "more": 1}],
    "label": "a",
    "rest": {"a": [None]},
}


def test_what_fits_passes_and_what_is_no_field_is_passed_over() -> None:
    check_fields(Answer, GOOD | {"unknown": object()})


def _nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("count", True, "count: True is not a whole number"),
        ("count", 2**60, "above"),
        ("count", "many", "count: 'many' is not a whole number"),
        ("share", float("nan"), "no finite number"),
        ("share", "half", "is not a number"),
        ("state", "perhaps", "is none of done, failed"),
        ("shape", [1, 2, 3], "3 entries instead of 2"),
        ("shape", {"a": 1}, "is no list"),
        ("names", [1], "names: 1 is not text"),
        ("lines", [{}], "lines: op is missing"),
        ("lines", [{"op": "x", "note": 3}], "lines.note: 3 is not text"),
        ("label", "letters", "7 letters, more than 5"),
        ("rest", {"a": float("inf")}, "rest.a: inf is no finite number"),
        ("rest", "\ud800", "no text that can be written"),
        ("rest", object(), "no plain value"),
        ("rest", _nested(DEEPEST + 2), "nested more than"),
    ],
)
def test_what_does_not_fit_is_named(name: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_fields(Answer, GOOD | {name: value})


def test_what_is_no_table_is_refused() -> None:
    with pytest.raises(ValueError, match="list is no table of Answer"):
        check_fields(Answer, [])
