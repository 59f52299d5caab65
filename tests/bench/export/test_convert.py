"""Export of one saved network, selected from a run, in each form."""

from pathlib import Path

import pytest
import torch

from bench.cli.main import main
from bench.errors import ConfigError
from bench.export.saved import load
from bench.export.selection import select_network
from bench.lean.pipeline import LeanNetwork
from bench.runner.executors.serial import SerialExecutor
from bench.runner.run import run_study
from bench.study.store import Store

PROBE = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def finished(study, store) -> Store:
    run_study(study(), store, SerialExecutor())
    return store


def output(model: torch.nn.Module) -> torch.Tensor:
    with torch.inference_mode():
        return model(PROBE.clone())


@pytest.mark.parametrize("export_format", ["safetensors", "lean"])
def test_a_folder_comes_back_as_the_same_network(
    export_format: str, finished, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [
        "export",
        str(finished.folder),
        "--row",
        "narrow",
        "--ratio",
        "0.5",
        "--format",
        export_format,
        "--out",
        str(tmp_path / "net"),
    ]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert "narrow, ratio 0.5, seed 0 at 1x3x32x32" in printed
    assert f"from prunebench import load; model = load({str(tmp_path / 'net')!r})" in printed
    reloaded = load(tmp_path / "net")
    original = select_network(finished.folder, "narrow", 0.5).model
    assert isinstance(reloaded, LeanNetwork) == (export_format == "lean")
    torch.testing.assert_close(
        output(reloaded), output(original), rtol=0, atol=1e-5 if export_format == "lean" else 0
    )


def test_an_onnx_file_says_how_far_it_is_from_pytorch(
    finished, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = finished.model_folder(finished.records()[0].key)
    assert (
        main(["export", str(folder), "--format", "onnx", "--out", str(tmp_path / "net.onnx")]) == 0
    )
    assert "ONNX Runtime differs from PyTorch by at most" in capsys.readouterr().out
    assert (tmp_path / "net.onnx").stat().st_size > 1000


def test_a_run_offers_its_networks_where_several_are_meant(finished) -> None:
    with pytest.raises(
        ConfigError,
        match=r'2 networks of .* match --row narrow.*--row "narrow" --ratio 0.5 --seed 0',
    ):
        select_network(finished.folder, "narrow")
    with pytest.raises(
        ConfigError,
        match=r'0 networks .* match --row nobody; choose one of: --row "unpruned"',
    ):
        select_network(finished.folder, "nobody")


def test_a_folder_that_is_not_there_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(tmp_path / "nothing"), "--format", "onnx"]) == 2
    assert "there is no folder" in capsys.readouterr().err
