"""Measuring a run that is there: every stored network once, into its record."""

import shutil

from bench.cli import main
from bench.execution.serial import Serial
from bench.measuring import measure_run
from bench.report.table import render
from bench.run import run_study as run


def test_every_stored_network_is_measured_once(study, store):
    run(study(), store, Serial())
    measured = list(measure_run(store))
    assert [record.cell.label for record in measured] == ["unpruned", "narrow", "narrow"]
    assert all(record.measured_bytes >= record.peak_bytes and record.measured_on.startswith("cpu") for record in store.records())
    assert list(measure_run(store)) == []
    assert "measured MiB" in render(store.records()) and "one forward pass allocated on cpu" in render(store.records())


def test_a_network_that_is_gone_is_left_out(study, store):
    first = run(study(), store, Serial())[0]
    shutil.rmtree(store.model_folder(first.key))
    assert len(list(measure_run(store))) == 2 and store.read(first.key).measured_bytes is None


def test_without_measurement_there_is_no_column(study, store):
    assert "measured" not in render(run(study(), store, Serial()))


def test_the_command_says_what_it_measures(study, store, capsys):
    run(study(), store, Serial())
    assert main(["measure", str(store.folder), "--device", "cpu"]) == 0
    assert "narrow, ratio 0.5, seed 0: measured" in capsys.readouterr().out
    assert main(["measure", str(store.folder), "--device", "cpu"]) == 0
    assert capsys.readouterr().out == "Nothing is left to measure there\n"
