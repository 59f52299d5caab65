"""Runs in a fresh process, by a runtime that is a few lines of numpy."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from bench.contract import Shape
from bench.errors import ConfigError
from bench.runtimes import child_run
from bench.runtimes.child_run import ChildRunner
from bench.runtimes.onnx_form import plain_copy

SHAPE = (1, 3, 8, 12)
DOUBLES = """
def load(path, inputs, threads):
    factor = float(open(path).read())
    def run(inputs):
        return [factor * inputs[0]]
    return run, lambda: 5000 + 7 * inputs[0].shape[2] * inputs[0].shape[3]
"""


class Double(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * x


def write(model: nn.Module, shapes: tuple[Shape, ...], path: Path) -> None:
    path.write_text("2")


def test_the_slope_leaves_out_what_does_not_grow_with_the_image(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(child_run, "SIDES", (8, 16, 24))
    peak_bytes, seconds = ChildRunner("Numpy", DOUBLES, write).measure(Double(), SHAPE)
    assert peak_bytes == pytest.approx(7 * 8 * 12, abs=1)
    assert seconds is not None and seconds > 0


def test_other_outputs_than_those_of_pytorch_are_refused() -> None:
    wrong = DOUBLES.replace("[factor *", "[1.001 * factor *")
    with pytest.raises(ConfigError, match="Numpy computes something else than PyTorch for Double"):
        ChildRunner("Numpy", wrong, write).run(Double(), SHAPE)


def test_a_runtime_that_fails_says_why_in_one_line() -> None:
    fails = DOUBLES.replace("    factor", "    raise ValueError('no such operator')\n    factor")
    with pytest.raises(ConfigError, match=r"does not run Double at 1x3x8x12: .*no such operator"):
        ChildRunner("Numpy", fails, write).run(Double(), SHAPE)


def test_a_runtime_gets_contiguous_weights_of_a_network_in_channels_last() -> None:
    network = nn.Conv2d(3, 4, 3).double().to(memory_format=torch.channels_last).train()
    plain = plain_copy(network)
    assert next(plain.parameters()).is_contiguous() and not network.weight.is_contiguous()
    assert next(plain.parameters()).dtype == torch.float32 and not plain.training
