"""ONNX files: one file, open sizes, the same results as PyTorch, nothing half-written."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from bench.errors import ConfigError
from bench.export import onnx_file
from bench.export.onnx_file import write_onnx
from bench.runtimes import onnx_form
from bench.surgery.remove import remove_channels
from tasks.models.edsr import EDSR
from tasks.models.res_unet import ResUNet
from tests.networks.public import build_with_seed
from tests.networks.refused import DependsOnValues
from tests.networks.small import Shuffled, draw_kept, network_layout, unet

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
SHAPE = (1, 3, 32, 32)


def run_file(path: Path, x: Tensor) -> Tensor:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(None, {session.get_inputs()[0].name: x.numpy()})[0])


def messages(caplog) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "prunebench"]


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> tuple[nn.Module, Path, float]:
    """A small network of doubles in training mode, its file, and the difference."""
    model = build_with_seed(Shuffled).double().train()
    path = tmp_path_factory.mktemp("onnx") / "new" / "net.onnx"
    return model, path, write_onnx(model, SHAPE, path)


def test_the_file_computes_what_the_network_computes_at_other_sizes_too(exported) -> None:
    model, path, difference = exported
    assert 0 <= difference < 1e-5
    for shape in (SHAPE, (3, 3, 16, 48), (2, 3, 64, 10)):
        x = torch.rand(shape)
        with torch.no_grad():
            torch.testing.assert_close(
                run_file(path, x), model(x.double()).float(), rtol=1e-4, atol=1e-5
            )


def test_the_network_stays_as_it_was(exported) -> None:
    assert exported[0].training and all(
        weight.dtype == torch.float64 for weight in exported[0].parameters()
    )


def test_it_is_one_file_with_names_for_people_and_none_of_this_machine(exported) -> None:
    path = exported[1]
    assert [file.name for file in path.parent.iterdir()] == ["net.onnx"]
    graph = onnx.load(path).graph
    assert [
        axis.dim_param or axis.dim_value for axis in graph.input[0].type.tensor_type.shape.dim
    ] == ["batch", 3, "height", "width"]
    assert [output.name for output in graph.output] == ["output"]
    assert str(Path(torch.__file__).parent).encode() not in path.read_bytes()
    assert str(Path(__file__).parent).encode() not in path.read_bytes()


class FixedSize(nn.Module):
    """A network that works at one size only."""

    def __init__(self) -> None:
        super().__init__()
        self.position = nn.Parameter(torch.rand(1, 3, 8, 8))

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, 8, 8) -> (N, 3, 8, 8)."""
        return x * self.position


class WritesIntoItsInput(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        return x.mul_(2).add_(1)


def test_a_network_that_writes_into_its_input_is_compared_with_the_same_input(tmp_path) -> None:
    before = torch.get_rng_state()
    assert write_onnx(WritesIntoItsInput(), (1, 3, 8, 8), tmp_path / "net.onnx") < 1e-6
    assert torch.equal(before, torch.get_rng_state())


class DecidesBySize(nn.Module):
    """A network that is another one at each height."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        return x * (2 if x.shape[2] == 8 else 3)


@pytest.mark.parametrize(
    ("network", "exports", "reason"),
    [
        (FixedSize, [False], "the network does not accept an input of 1x3x16x8"),
        (DecidesBySize, [True, False], "DecidesBySize cannot be exported"),
    ],
)
def test_sizes_that_cannot_stay_open_are_fixed_with_a_warning_and_nothing_else_is_tried_or_said(
    network: type, exports: list, reason: str, tmp_path, caplog, capfd, monkeypatch
) -> None:
    tried, export = [], torch.export.export
    monkeypatch.setattr(
        torch.export,
        "export",
        lambda *given, **named: (
            tried.append(bool(named["dynamic_shapes"])) or export(*given, **named)
        ),
    )
    assert write_onnx(network(), (1, 3, 8, 8), tmp_path / "net.onnx") < 1e-6
    assert tried == exports
    assert f"takes inputs of 1x3x8x8 only; with open sizes, {reason}" in caplog.text
    assert "\x1b" not in caplog.text and len(messages(caplog)) == 1
    assert capfd.readouterr() == ("", "")
    x = torch.rand(1, 3, 8, 8)
    assert run_file(tmp_path / "net.onnx", x).shape == x.shape


class ReadsItsSize(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        return x * x.shape[3] / (x.size(2) * x.size(3))


@pytest.mark.parametrize(
    ("network", "symbolic"),
    [
        (Shuffled(), False),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.MaxPool2d(2), nn.Hardswish()), False),
        (ReadsItsSize(), True),
        (nn.Upsample(scale_factor=2), True),
        (nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"), True),
    ],
)
def test_sizes_are_symbols_only_where_a_network_depends_on_them(
    network: nn.Module, symbolic: bool, tmp_path, monkeypatch
) -> None:
    tried, export = [], onnx_file.to_onnx_proto
    monkeypatch.setattr(
        onnx_file, "to_onnx_proto", lambda *given: tried.append(len(given) > 3) or export(*given)
    )
    write_onnx(network.eval(), SHAPE, tmp_path / "net.onnx")
    assert tried[-1] == symbolic
    for shape in ((3, 3, 16, 48), (2, 3, 64, 24)):
        x = torch.rand(shape)
        expected = network(x).detach()
        torch.testing.assert_close(
            run_file(tmp_path / "net.onnx", x), expected, rtol=1e-4, atol=1e-5
        )


def test_a_file_that_computes_something_else_is_not_written(tmp_path, monkeypatch) -> None:
    run_onnx = onnx_file._run_onnx
    monkeypatch.setattr(
        onnx_file, "_run_onnx", lambda *given: [output + 1e-3 for output in run_onnx(*given)]
    )
    with pytest.raises(
        ConfigError, match=r"output 0 of FixedSize differs as ONNX by .* more than 1e-04"
    ):
        write_onnx(FixedSize(), (1, 3, 8, 8), tmp_path / "net.onnx", dynamic=False)
    monkeypatch.setattr(
        onnx_file, "_run_onnx", lambda *given: [output[:, :2] for output in run_onnx(*given)]
    )
    with pytest.raises(
        ConfigError, match=r"gives \[\(1, 3, 8, 8\)\] in PyTorch and \[\(1, 2, 8, 8\)\] as ONNX"
    ):
        write_onnx(FixedSize(), (1, 3, 8, 8), tmp_path / "net.onnx", dynamic=False)
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_exported_is_told_in_one_line(tmp_path, capfd) -> None:
    with pytest.raises(ConfigError, match="DependsOnValues cannot be exported to ONNX") as caught:
        write_onnx(DependsOnValues(), (1, 3, 8, 8), tmp_path / "net.onnx", dynamic=False)
    with pytest.raises(ConfigError, match="does not accept an input of 1x3x9x9"):
        write_onnx(FixedSize(), (1, 3, 9, 9), tmp_path / "net.onnx")
    assert "\n" not in str(caught.value) and list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_a_missing_library_and_too_many_weights_are_told(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(onnx_file, "MAX_BYTES", 100)
    with pytest.raises(ConfigError, match="do not fit into one ONNX file"):
        write_onnx(FixedSize(), (1, 3, 8, 8), tmp_path / "net.onnx")
    monkeypatch.setattr(onnx_form, "find_spec", lambda name: None)
    with pytest.raises(
        ConfigError,
        match=r"ONNX needs onnx and onnxruntime and onnxscript.*pip install 'prunebench\[onnx\]'",
    ):
        write_onnx(FixedSize(), (1, 3, 8, 8), tmp_path / "net.onnx")


BACKBONES = {
    "u-net": lambda: unet(8),
    "u-net with compactors": lambda: unet(8, compactors=True),
    "res-u-net": lambda: build_with_seed(lambda: ResUNet(8)),
    **{
        f"edsr x{scale}": lambda scale=scale: build_with_seed(
            lambda: EDSR(width=16, blocks=2, scale=scale)
        )
        for scale in (2, 3, 4)
    },
}


@pytest.mark.slow
@pytest.mark.parametrize("pruned", [False, True])
@pytest.mark.parametrize("name", BACKBONES)
def test_every_backbone_can_be_written_with_open_sizes(
    name: str, pruned: bool, tmp_path, caplog
) -> None:
    model = BACKBONES[name]()
    if pruned:
        model = remove_channels(
            model, draw_kept(network_layout(model, (1, 3, 64, 64)), seed=1), (1, 3, 64, 64)
        )
    assert write_onnx(model, (1, 3, 64, 64), tmp_path / "net.onnx") < 1e-5
    assert messages(caplog) == []
