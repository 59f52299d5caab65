"""What the README shows works."""

import re
import shlex
from pathlib import Path

import pytest

from bench.cli.main import COMMANDS
from bench.cli.parser import parser_of

README = Path(__file__).resolve().parent.parent / "README.md"


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README.read_text("utf-8"), re.DOTALL)


def test_the_python_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for block in _blocks("python"):
        exec(compile(block, str(README), "exec"), {})


def test_every_command_line_is_understood() -> None:
    lines = [
        line
        for block in _blocks("")
        for line in block.splitlines()
        if re.match(r"(\.venv/bin/)?prunebench ", line)
    ]
    assert len(lines) >= 7
    for line in lines:
        parser_of(COMMANDS).parse_args(shlex.split(line, comments=True)[1:])


def test_pictures_and_files_that_it_names_are_there() -> None:
    text = README.read_text("utf-8")
    named = re.findall(r"\]\((results/[^)]+)\)", text) + re.findall(
        r"`((?:bench|methods|tasks)/[\w/.]+)`", text
    )
    assert [name for name in named if not (README.parent / name).exists()] == []
