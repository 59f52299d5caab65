"""Strategies for hostile input: junk values, trees with junk in them, files with wrong bytes."""

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
    "x" * 5000,
]
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
def mutate_tree(draw: DrawFn, tree: Any) -> Any:
    """Draw a copy of a tree of dictionaries and lists with one to three entries changed.

    An entry is replaced by junk, removed, added, or replaced by a copy of another one.
    """
    tree = deepcopy(tree)
    for _ in range(draw(st.integers(1, 3))):
        node = tree
        while children := [
            key for key in _keys(node) if isinstance(node[key], dict | list) and node[key]
        ]:
            if draw(st.booleans()):
                break
            node = node[draw(st.sampled_from(children))]
        key = draw(st.sampled_from(_keys(node))) if _keys(node) else None
        if key is None:
            continue
        match draw(st.sampled_from(["replace", "remove", "add", "twin"])):
            case "replace":
                node[key] = draw(junk)
            case "remove":
                del node[key]
            case "add" if isinstance(node, dict):
                node[draw(texts)] = draw(junk)
            case _:
                node[key] = deepcopy(node[draw(st.sampled_from(_keys(node)))])
    return tree


def _keys(node: Any) -> list[Any]:
    return list(node) if isinstance(node, dict) else list(range(len(node)))


@st.composite
def damage_bytes(draw: DrawFn, whole: bytes) -> bytes:
    """Draw a copy of a file with bytes changed, inserted or repeated, or with its end cut off."""
    content = bytearray(whole)
    for _ in range(draw(st.integers(1, 4))):
        index = draw(st.integers(0, max(0, len(content) - 1)))
        match draw(st.sampled_from(["change", "change", "cut", "insert", "repeat"])):
            case "change":
                content[index : index + 1] = bytes([draw(st.integers(0, 255))])
            case "cut":
                del content[index:]
            case "insert":
                content[index:index] = draw(st.binary(max_size=8))
            case "repeat":
                content[index:index] = content[index : index + 64]
    return bytes(content)


def toml(value: Any) -> str:
    """Return a value as TOML; None has no TOML form and becomes `null`, which is invalid."""
    if isinstance(value, dict):
        entries = (f"{json.dumps(str(name))} = {toml(entry)}" for name, entry in value.items())
        return "{" + ", ".join(entries) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    text = json.dumps(value)
    return {"NaN": "nan", "Infinity": "inf", "-Infinity": "-inf"}.get(text, text)
