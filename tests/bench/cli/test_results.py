"""prunebench results: the site of stored studies."""

import pytest

from bench.cli.main import main

pytestmark = pytest.mark.usefixtures("tiny_study")


def test_results_writes_the_site_of_all_runs(capsys: pytest.CaptureFixture[str]) -> None:
    main(["run", "tiny.toml", "--no-mlflow", "-q", "--executor", "serial"])
    capsys.readouterr()
    assert main(["results", "results/runs", "--out", "site"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "site/tiny/tiny.parquet",
        "site/tiny/index.html",
        "site/index.html",
    ]


def test_a_folder_without_results_is_a_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["results"]) == 2
    assert "results/reference holds no results" in capsys.readouterr().err
