"""prunebench measure: what the networks of a run allocate when they run."""

import pytest

from bench.cli.main import main

pytestmark = pytest.mark.usefixtures("tiny_study")


def test_measure_prints_a_line_for_each_network_of_a_run_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    main(["run", "tiny.toml", "--out", "here", "--no-mlflow", "--executor", "serial"])
    capsys.readouterr()
    assert main(["measure", "here"]) == 0
    printed = capsys.readouterr().out
    assert "'narrow', ratio 0.5, seed 0: pytorch measured " in printed
    assert printed.endswith("\n3 measured; prunebench table here shows them\n")
    assert main(["measure", "here"]) == 0
    assert capsys.readouterr().out == "Nothing is left to measure in here\n"
