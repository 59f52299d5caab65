"""What hostile input looks like: junk values, trees with junk in one place, files with bytes changed."""

import json
from copy import deepcopy
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

WORDS = [
    "",
    "..",
    "../../etc/passwd",
    "/etc/passwd",
    "a\nb",
    "<script>alert(1)</script>",
    "$\\frac{",
    "\x1b[2J",
    "\ud800",
    "nan",
]
WORDS += ["x" * 5000]
NUMBERS = [
    0,
    -1,
    1,
    2**31,
    2**63,
    10**30,
    10**400,
    0.5,
    -0.0,
    1e308,
    5e-324,
    float("nan"),
    float("inf"),
    -float("inf"),
]

texts: SearchStrategy[str] = st.sampled_from(WORDS) | st.text(max_size=8)
scalars: SearchStrategy[Any] = (
    st.none() | st.booleans() | st.sampled_from(NUMBERS) | st.integers() | st.floats() | texts
)
junk: SearchStrategy[Any] = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)


@st.composite
def changed(draw: DrawFn, tree: Any) -> Any:
    """A copy of a tree of dictionaries and lists, of which up to three entries are replaced, removed or added."""
    tree = deepcopy(tree)
    for _ in range(draw(st.integers(1, 3))):
        place = tree
        while children := [
            key for key in _keys(place) if isinstance(place[key], dict | list) and place[key]
        ]:
            if draw(st.booleans()):
                break
            place = place[draw(st.sampled_from(children))]
        key = draw(st.sampled_from(_keys(place))) if _keys(place) else None
        if key is None:
            continue
        match draw(st.sampled_from(["replace", "remove", "add", "twin"])):
            case "replace":
                place[key] = draw(junk)
            case "remove":
                del place[key]
            case "add" if isinstance(place, dict):
                place[draw(texts)] = draw(junk)
            case _:
                place[key] = deepcopy(place[draw(st.sampled_from(_keys(place)))])
    return tree


def _keys(place: Any) -> list[Any]:
    return list(place) if isinstance(place, dict) else list(range(len(place)))


@st.composite
def damaged(draw: DrawFn, whole: bytes) -> bytes:
    """A copy of a file that is cut short, or in which bytes are changed, put in, or said twice."""
    content = bytearray(whole)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, max(0, len(content) - 1)))
        match draw(st.sampled_from(["change", "change", "cut", "insert", "repeat"])):
            case "change":
                content[place : place + 1] = bytes([draw(st.integers(0, 255))])
            case "cut":
                del content[place:]
            case "insert":
                content[place:place] = draw(st.binary(max_size=8))
            case "repeat":
                content[place:place] = content[place : place + 64]
    return bytes(content)


def toml(value: Any) -> str:
    """A value as TOML writes it; None is left to be refused."""
    if isinstance(value, dict):
        return (
            "{"
            + ", ".join(f"{json.dumps(str(name))} = {toml(one)}" for name, one in value.items())
            + "}"
        )
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return {"NaN": "nan", "Infinity": "inf", "-Infinity": "-inf"}.get(
        text := json.dumps(value), text
    )
