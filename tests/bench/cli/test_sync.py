"""prunebench sync, and the copy to MLflow at the end of prunebench run."""

from pathlib import Path

import pytest

from bench.cli.main import main

pytestmark = pytest.mark.usefixtures("tiny_study")


def test_run_copies_to_mlflow_once_and_sync_finds_nothing_new(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "tiny.toml", "--executor", "serial"]) == 0
    assert "MLflow: 3 records copied to sqlite:" in capsys.readouterr().out
    assert (workplace / "results" / "mlflow.db").is_file()
    assert main(["sync", "results/runs/tiny"]) == 0
    assert "nothing new" in capsys.readouterr().out
