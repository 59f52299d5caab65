"""Measuring a finished run: every stored network once by each executor, into its record."""

import shutil

import pytest

from bench.cli.main import main
from bench.errors import ConfigError
from bench.report.results import collect_results, read_results
from bench.report.table import render_table
from bench.runner.executors.serial import SerialExecutor
from bench.runner.measure import measure_network, measure_run
from bench.runner.run import run_study as run
from tests.fakes import Tiny

SHAPE = (1, 3, 64, 64)


def test_every_stored_network_is_measured_once(study, store):
    run(study(), store, SerialExecutor())
    measured = list(measure_run(store))
    assert [(record.cell.label, executor) for record, executor in measured] == [
        (name, "pytorch") for name in ("unpruned", "narrow", "narrow")
    ]
    for record in store.records():
        measurement = record.measured["pytorch"]
        assert measurement["peak_bytes"] >= record.peak_bytes and measurement["image_seconds"] > 0
        assert measurement["on"].startswith("cpu") and "channels_last" in measurement["on"]
    assert list(measure_run(store)) == []


def test_the_table_has_a_column_for_each_executor_that_measured(study, store):
    assert "measured" not in render_table(collect_results(run(study(), store, SerialExecutor())))
    list(measure_run(store, ("pytorch", "lean")))
    text = render_table(read_results(store))
    heads = ("measured MiB", "lean MiB", "measured s/image", "lean s/image", "one forward pass")
    assert all(head in text for head in heads)
    assert "ONNX" not in text.partition("\n\n")[2].splitlines()[0]


def test_a_network_that_is_gone_is_left_out(study, store):
    first = run(study(), store, SerialExecutor())[0]
    shutil.rmtree(store.model_folder(first.key))
    assert len(list(measure_run(store))) == 2 and store.read(first.key).measured == {}


def test_all_executors_measure_a_network_by_hand():
    planned = 4 * 64 * 64 * (8 + 3)
    peaks = {
        executor: measure_network(Tiny(8), SHAPE, executor)["peak_bytes"]
        for executor in ("pytorch", "lean")
    }
    assert planned <= peaks["lean"] <= peaks["pytorch"]


@pytest.mark.parametrize("executor", ["lean", "onnx"])
def test_only_pytorch_is_measured_on_another_device(executor):
    with pytest.raises(
        ConfigError, match=f"'{executor}' is measured on the CPU, and --device cuda was asked"
    ):
        measure_network(Tiny(8), SHAPE, executor, "cuda")


def test_the_command_says_what_it_measures(study, store, capsys):
    run(study(), store, SerialExecutor())
    assert main(["measure", str(store.folder), "--device", "cpu"]) == 0
    assert "'narrow', ratio 0.5, seed 0: pytorch measured" in capsys.readouterr().out
    assert main(["measure", str(store.folder), "--device", "cpu"]) == 0
    assert capsys.readouterr().out == f"Nothing is left to measure in {store.folder}\n"


def test_networks_of_two_backbones_with_one_label_have_a_line_each_in_the_table(
    study, store, capsys
):
    backbones = 'backbones=["tiny", {backbone = "tiny", width = 12}]'
    run(study(backbones), store, SerialExecutor())
    command = ["measure", str(store.folder), "--executor", "lean", "--executor", "pytorch"]
    assert main(command) == 0
    heads = [
        line.partition(", seed")[0]
        for line in capsys.readouterr().out.partition("network  ")[2].splitlines()[1:]
    ]
    assert len(set(heads)) == len(heads) == len(store.records())


def test_the_command_measures_one_saved_network(study, store, capsys):
    record = run(study(), store, SerialExecutor())[0]
    folder = str(store.model_folder(record.key))
    assert main(["measure", folder, "--executor", "lean", "--executor", "onnx"]) == 0
    out = capsys.readouterr().out
    assert "lean measured" in out and "onnx measured" in out and "s an image" in out
    assert main(["measure", str(store.folder), "--shape", "1x3x32x32"]) == 2
    assert "leave --shape out" in capsys.readouterr().err


def test_several_executors_make_a_table(study, store, capsys, monkeypatch):
    record = run(study(), store, SerialExecutor())[0]
    folder = str(store.model_folder(record.key))
    monkeypatch.setattr("bench.runner.measure.has_onnx", lambda: False)
    monkeypatch.setattr("bench.runner.measure.installed_runtimes", lambda: ["mnn"])
    assert main(["measure", folder, folder, "--executor", "all"]) == 0
    table = capsys.readouterr().out.partition("\n\n")[2]
    assert table.split()[:4] == ["network", "pytorch", "lean", "mnn"] and ", x" in table
