"""prunebench sync, and the copy to MLflow at the end of prunebench run."""

from pathlib import Path

import pytest

from bench.cli.main import main

pytestmark = pytest.mark.usefixtures("tiny_study")


def test_run_copies_to_mlflow_once_and_sync_finds_nothing_new(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "tiny.toml", "--executor", "serial"]) == 0
    assert "MLflow: nothing new to copy, all records are in sqlite:" in capsys.readouterr().out
    assert (workplace / "results" / "mlflow.db").is_file()
    assert main(["sync", "results/runs/tiny"]) == 0
    assert "nothing new" in capsys.readouterr().out


def test_sync_registers_the_network_that_is_asked_for(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["run", "tiny.toml", "--executor", "serial", "--no-mlflow"])
    sync = ["sync", "results/runs/tiny", "--register", "denoiser", "--label", "narrow"]
    assert main(sync) == 2
    assert '"narrow 0.5 seed 0", "narrow 0.75 seed 0"' in capsys.readouterr().err
    assert not (workplace / "results" / "mlflow.db").exists()
    assert main([*sync, "--ratio", "0.5"]) == 0
    assert "MLflow: 3 records copied to sqlite:" in (said := capsys.readouterr().out)
    assert "registered as version 1 of denoiser; load it with mlflow.pyfunc.load_model" in said


def test_a_choice_without_a_name_to_register_is_a_mistake(
    capsys: pytest.CaptureFixture[str],
) -> None:
    main(["run", "tiny.toml", "--executor", "serial", "--no-mlflow"])
    assert main(["sync", "results/runs/tiny", "--label", "narrow"]) == 2
    assert "add it or leave them out" in capsys.readouterr().err
