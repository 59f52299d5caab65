"""OpenVINO on the CPU, from ONNX. It does not say what it allocates: the process is measured."""

from pathlib import Path

from torch import nn

from bench.contract import Inputs, Shape
from bench.runtimes.child_run import ChildRunner
from bench.runtimes.onnx_form import to_static_onnx
from bench.runtimes.runtime import Runtime

LOAD = """
import openvino
def load(path, inputs, threads):
    core = openvino.Core()
    options = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
    request = core.compile_model(core.read_model(path), "CPU", options).create_infer_request()
    return lambda inputs: request.infer(inputs).values(), None
"""


class OpenVINO(Runtime):
    """Measured by the slope of its process's peak."""

    protocol = "slope of the peak of its process at 256x256, 512x512 and 768x768"

    def measure(self, model: nn.Module, shape: Inputs) -> tuple[int, float | None]:
        """Return the peak by the slope, and the seconds of an image."""
        return ChildRunner("OpenVINO", LOAD, write_static_onnx).measure(model, shape)


RUNTIME = OpenVINO()


def write_static_onnx(model: nn.Module, shapes: tuple[Shape, ...], path: Path) -> None:
    """Write a network as ONNX for inputs of exactly these shapes."""
    path.write_bytes(to_static_onnx(model, shapes).SerializeToString())
