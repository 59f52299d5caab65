"""The measured peak of ONNX Runtime against peaks that are counted by hand."""

import pytest
import torch
from torch import Tensor, nn

from bench.errors import ConfigError
from bench.export import onnx_runtime
from bench.export.onnx_file import write_onnx
from bench.export.onnx_runtime import onnx_peak_bytes
from bench.units import MIB
from tests.networks.small import unet

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
pytestmark = pytest.mark.skipif(not onnx_runtime.CLEAR_REFS.exists(), reason="needs Linux")
SHAPE = (1, 4, 512, 512)  # a channel is 1 MiB


class Joined(nn.Module):
    """A network with 4 input channels, 4 made of them, and 8 that join both: 16 at the end.

    Its weight of 4 MiB does not count.
    """

    def __init__(self) -> None:
        super().__init__()
        self.heavy = nn.Parameter(torch.rand(1024, 1024))

    def forward(self, x: Tensor) -> Tensor:
        """(N, 4, H, W) -> (N, 8, H, W)."""
        return torch.cat((x, x * self.heavy[0, 0]), 1)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("onnx") / "net.onnx"
    write_onnx(Joined(), (1, 4, 16, 16), path)
    return path


def test_it_is_what_is_counted_by_hand_and_the_same_three_times(path) -> None:
    peaks = [onnx_peak_bytes(path, SHAPE) for _ in range(3)]
    assert all(abs(peak - 16 * MIB) < MIB for peak in peaks)


@pytest.mark.slow
def test_a_u_net_needs_what_is_counted_by_hand_for_onnx_runtime() -> None:
    """The peak is at the last concatenation: 32 + 32 channels and the 64 that join them.

    Then those 64 and their copy in blocks need as much. 3 channels are those of the input.
    """
    assert abs(onnx_peak_bytes(unet(32), (1, 3, 256, 256)) - (128 + 3) * 256 * 256 * 4) < MIB


def test_a_file_that_is_not_there_or_does_not_run_is_told(path, monkeypatch) -> None:
    with pytest.raises(ConfigError, match="there is no file"):
        onnx_peak_bytes(path.with_name("other.onnx"), SHAPE)
    with pytest.raises(ConfigError, match=r"does not run .* at 1x3x16x16") as caught:
        onnx_peak_bytes(path, (1, 3, 16, 16))
    assert "\n" not in str(caught.value)
    monkeypatch.setattr(onnx_runtime, "CLEAR_REFS", path.with_name("nothing"))
    with pytest.raises(ConfigError, match="on Linux only"):
        onnx_peak_bytes(path, SHAPE)
