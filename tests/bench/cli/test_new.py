"""prunebench new: a new method keeps every promise."""

import pytest

from bench.cli.main import main


def test_a_new_method_passes_all_checks(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["new", "first_try"]) == 0
    assert "Next: prunebench check first_try.py" in capsys.readouterr().out
    assert main(["check", "first_try.py"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "method first_try"
    assert lines[-1] == f"{len(lines) - 2} of {len(lines) - 2} checks passed, 0 failed"


def test_a_name_that_is_taken_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["new", "mosp"]) == 2
    assert "there is a method 'mosp' already" in capsys.readouterr().err
