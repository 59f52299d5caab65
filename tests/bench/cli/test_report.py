"""prunebench report: the files of a stored run."""

import os
import subprocess
import sys
from pathlib import Path
from shutil import copytree

import pytest

from bench.cli.main import main

ROOT = Path(__file__).parents[3]
pytestmark = pytest.mark.usefixtures("tiny_study")


def test_report_works_from_the_records_alone(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["run", "tiny.toml", "--out", "here", "--no-mlflow", "--executor", "serial"])
    capsys.readouterr()
    assert main(["report", "here"]) == 0
    written = {path.name for path in (workplace / "here").iterdir()}
    assert {"table.md", "table.csv", "table.tex", "table.json", "curve.png", "curve.svg"} <= written
    assert "here/table.md" in capsys.readouterr().out.splitlines()


def test_a_report_is_written_without_loading_torch(workplace: Path) -> None:
    main(["run", "tiny.toml", "--out", "here", "--no-mlflow", "--executor", "serial"])
    code = (
        "import sys; from bench.cli.main import main; "
        "main(['report', 'here']); sys.exit('torch' in sys.modules)"
    )
    command = [sys.executable, "-c", code]
    subprocess.run(command, cwd=workplace, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=True)
    assert (workplace / "here/report.html").is_file()


def test_two_runs_give_one_page_beside_the_first(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["run", "tiny.toml", "--out", "here", "--no-mlflow", "--executor", "serial"])
    copytree(workplace / "here", workplace / "there")
    capsys.readouterr()
    assert main(["report", "here", "there"]) == 0
    assert capsys.readouterr().out == "here+there.html\n"
    assert "there: " in (workplace / "here+there.html").read_text("utf-8")


def test_a_run_that_is_named_twice_is_a_mistake(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (workplace / "here" / "records").mkdir(parents=True)
    assert main(["report", "here", "./here"]) == 2
    assert "is named twice; name each run once" in capsys.readouterr().err
