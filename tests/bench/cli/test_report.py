"""prunebench report: the files of a stored run."""

from pathlib import Path

import pytest

from bench.cli.main import main

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
