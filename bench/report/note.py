"""A provenance note as blocks of text: the little Markdown that such notes are written in."""

import re
from typing import Literal, NamedTuple

LINK = re.compile(r"\[([^\]]+)\]\([^)]+\)")
CODE_INDENT = "    "


class Block(NamedTuple):
    """A heading, a paragraph (with `code` between backquotes), or lines of commands."""

    kind: Literal["heading", "code", "text"]
    text: str


def parse_note(note: str) -> list[Block]:
    """Split Markdown into blocks; links become their text."""
    parts = re.split(r"\n[ \t]*\n", note.strip("\n"))
    return [_parse_block(part) for part in parts if part.strip()]


def _parse_block(part: str) -> Block:
    if part.startswith(CODE_INDENT):
        lines = [line.removeprefix(CODE_INDENT) for line in part.splitlines()]
        return Block("code", "\n".join(lines))
    text = LINK.sub(r"\1", " ".join(part.split()))
    return Block("heading", text.lstrip("# ")) if text.startswith("#") else Block("text", text)
