"""Values that were read are checked against type annotations."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import pytest

from bench.files.schema import MAX_DEPTH, check_fields


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


def test_values_of_the_right_type_pass_and_unknown_names_are_ignored() -> None:
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
        ("share", float("nan"), "not a finite number"),
        ("share", "half", "is not a number"),
        ("state", "perhaps", "is not one of done, failed"),
        ("shape", [1, 2, 3], "3 entries instead of 2"),
        ("shape", {"a": 1}, "is not a list"),
        ("names", [1], "names: 1 is not text"),
        ("lines", [{}], "lines: op is missing"),
        ("lines", [{"op": "x", "note": 3}], "lines.note: 3 is not text"),
        ("label", "letters", "7 characters, more than 5"),
        ("rest", {"a": float("inf")}, "rest.a: inf is not a finite number"),
        ("rest", "\ud800", "is not valid text"),
        ("rest", object(), "is not a JSON value"),
        ("rest", _nested(MAX_DEPTH + 2), "nested more than"),
    ],
)
def test_the_first_value_of_a_wrong_type_is_named(name: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_fields(Answer, GOOD | {name: value})


def test_a_value_that_is_not_a_table_is_refused() -> None:
    with pytest.raises(ValueError, match="list is not a table of Answer"):
        check_fields(Answer, [])
