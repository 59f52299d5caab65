"""Networks that are traced at a shape, pruned: saved, exported, and run by the lean executor."""

from pathlib import Path

import pytest
import torch
from torch import nn

from bench.channels.units import channel_layout
from bench.channels.written_form import write_out
from bench.export import saved
from bench.export.onnx_file import TOLERANCE, to_onnx_bytes
from bench.graph.lowering import trace
from bench.lean.pipeline import make_lean
from bench.surgery.remove import remove_channels
from tests.networks.shaped import SHAPE, SHAPED


def prune(habit: str) -> nn.Module:
    torch.manual_seed(0)
    network = write_out(SHAPED[habit]().eval(), SHAPE)
    widths = channel_layout(trace(network, SHAPE)).widths
    kept = {unit: range(0, width, 2) for unit, width in widths.items()}
    return remove_channels(network, kept, SHAPE)


@pytest.mark.parametrize("habit", SHAPED)
def test_they_are_saved_and_run_lean_to_the_same(habit: str, tmp_path: Path) -> None:
    pruned, x = prune(habit), torch.rand(SHAPE)
    saved.save_graph(tmp_path, pruned)
    with torch.no_grad():
        expected = pruned(x.clone())
        assert torch.equal(saved.load(tmp_path)(x.clone()), expected)
        assert torch.allclose(make_lean(pruned, SHAPE)(x.clone()), expected, atol=1e-6)


@pytest.mark.parametrize("habit", ["AssignsItems", "CountsWindows", "Windows"])
def test_they_are_exported_to_onnx_to_the_same(habit: str) -> None:
    assert to_onnx_bytes(prune(habit), SHAPE)[1] <= TOLERANCE
