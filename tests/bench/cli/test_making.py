"""The commands for people who write a method: a new one keeps every promise, a broken one is told which it does not keep."""

import json
from pathlib import Path

import pytest

from bench.cli.main import main

BROKEN = """
from dataclasses import dataclass
from bench.contract import Method, Pruned
from bench.plugins.registry import method

@method("does_nothing")
@dataclass(frozen=True)
class DoesNothing(Method):
    paper = "nobody"
    def prune(self, model, budget, trainer=None):
        return Pruned(model)
"""

NETWORK = """
from torch import nn
from bench.plugins.registry import backbone

@backbone("one_layer")
def build():
    return nn.Conv2d(3, 3, 1)
"""


def test_a_new_method_passes_all_checks(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["new", "first_try"]) == 0
    assert "Next: prunebench check first_try.py" in capsys.readouterr().out
    assert main(["check", "first_try.py"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "method first_try"
    assert lines[-1] == f"{len(lines) - 2} of {len(lines) - 2} checks passed, 0 failed"


def test_a_broken_method_is_told_what_it_does_not_keep(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.py").write_text(BROKEN)
    assert main(["check", "mine.py", "--json"]) == 1
    found = {one["name"]: one["status"] for one in json.loads(capsys.readouterr().out)}
    assert (found["fits the budget"], found["is a method"], found["cites its source"]) == (
        "failed",
        "passed",
        "passed",
    )


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("unpruned", "'unpruned' is the reference and removes nothing"),
        ("mops", "unknown method 'mops'; did you mean 'mosp'?"),
        ("nowhere.py", "there is no Python file nowhere.py"),
        (
            "broken.py",
            "broken.py cannot be loaded: it raises ZeroDivisionError in line 1 of broken.py",
        ),
        ("network.py", "network.py brings no method and no task"),
    ],
)
def test_what_cannot_be_checked_is_one_line(
    what: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "broken.py").write_text("1 / 0")
    (tmp_path / "network.py").write_text(NETWORK)
    assert main(["check", what]) == 2
    err = capsys.readouterr().err.splitlines()
    assert words in err[-1]


def test_a_name_that_is_taken_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["new", "mosp"]) == 2
    assert "there is a method 'mosp' already" in capsys.readouterr().err
