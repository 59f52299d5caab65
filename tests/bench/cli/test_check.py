"""prunebench check: a broken method is told which promises it breaks."""

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


def test_a_broken_method_is_told_which_promises_it_breaks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.py").write_text(BROKEN)
    assert main(["check", "mine.py", "--json"]) == 1
    results = json.loads(capsys.readouterr().out)
    statuses = {result["name"]: result["status"] for result in results}
    assert statuses["fits the budget"] == "failed"
    assert (statuses["is a method"], statuses["cites its source"]) == ("passed", "passed")


PRINTS = BROKEN.replace(
    "return Pruned(model)",
    'print("from the method"); os.system("echo from a program"); return Pruned(model)',
)


def test_what_a_method_prints_is_not_among_the_answers(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.py").write_text(f"import os\n{PRINTS}")
    main(["check", "mine.py", "--json"])
    answers, rest = capfd.readouterr()
    assert json.loads(answers)
    assert "from the method" in rest and "from a program" in rest


@pytest.mark.parametrize(
    ("what", "answer"),
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
    what: str, answer: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "broken.py").write_text("1 / 0")
    (tmp_path / "network.py").write_text(NETWORK)
    assert main(["check", what]) == 2
    assert answer in capsys.readouterr().err.splitlines()[-1]
