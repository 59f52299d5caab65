"""prunebench table: the table of a stored run."""

import json

import pytest

from bench.cli.main import main

pytestmark = pytest.mark.usefixtures("tiny_study")


def test_table_works_from_the_records_alone(capsys: pytest.CaptureFixture[str]) -> None:
    main(["run", "tiny.toml", "--out", "here", "--no-mlflow", "--executor", "serial"])
    capsys.readouterr()
    assert main(["table", "here", "--format", "json"]) == 0
    assert [row["ratio"] for row in json.loads(capsys.readouterr().out)] == [1, 0.75, 0.5]
    assert main(["table", "here", "--against", "unpruned"]) == 0
    assert "narrow" in capsys.readouterr().out
