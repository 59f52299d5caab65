"""prunebench new: a new method keeps every promise; a copied study asks the same questions."""

from pathlib import Path

import pytest

from bench.cli.main import main
from bench.study.study import load_study


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


def test_a_copy_of_a_study_has_its_cells_and_a_folder_of_its_own(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["new", "study", "--from", "Smoke"]) == 0
    assert "Next: prunebench plan my_smoke.toml" in capsys.readouterr().out
    copy, original = load_study("my_smoke.toml"), load_study("smoke")
    assert copy.rows == original.rows and copy.name == "my_smoke"
    assert main(["new", "study", "other", "--from", "my_smoke.toml", "--out", "studies"]) == 0
    assert (workplace / "studies" / "other.toml").read_bytes() == Path("my_smoke.toml").read_bytes()


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        ("study", "say which, for example prunebench new study --from table1"),
        ("study --from tabel1", "unknown study 'tabel1'; did you mean 'table1'?"),
        ("study smoke --from table1", "cannot be called 'smoke'"),
        ("study a/b --from table1", "cannot be called 'a/b'"),
        ("study taken --from table1", "taken.toml exists already"),
        ("mine --from table1", "--from and a second name are for prunebench new study"),
    ],
)
def test_a_study_that_cannot_be_copied_is_one_line(
    words: str, answer: str, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (workplace / "taken.toml").touch()
    assert main(["new", *words.split()]) == 2
    assert answer in capsys.readouterr().err
    assert [path.name for path in workplace.iterdir()] == ["taken.toml"]
