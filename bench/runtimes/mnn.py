"""MNN on the CPU, converted from ONNX: the memory that a session reports after it was resized.

Its figure includes the weights, which the slope over the sizes of the image leaves out. Channels
lie in packs of what a vector register holds: eight with AVX2, four on ARM. So a width of 5 costs as
much as 8.

Only the converter's own extension module is called: the package MNN.tools around it installs
another package by itself and reports conversions to a server.
"""

from pathlib import Path

from torch import nn

from bench.contract import Shape
from bench.runtimes.child_run import SIDES, SLOPE, ChildRunner, MeasuredRuntime
from bench.runtimes.onnx_form import write_static_onnx

LOAD = """
import _tools, MNN
def load(path, inputs, threads):
    _tools.mnnconvert(["mnnconvert", "-f", "ONNX", "--modelFile", path,
                       "--MNNModel", path + ".mnn", "--bizCode", "none"])
    def open_session(threads):
        network = MNN.Interpreter(path + ".mnn")
        session = network.createSession({"backend": "CPU", "numThread": threads})
        places = list(network.getSessionInputAll(session).values())
        for place, given in zip(places, inputs):
            network.resizeTensor(place, given.shape)
        network.resizeSession(session)
        return network, session, places
    network, session, _ = open_session(1)
    planned_bytes = network.getSessionInfo(session, 0) * 2**20
    network, session, places = open_session(threads)
    kind, layout = MNN.Halide_Type_Float, MNN.Tensor_DimensionType_Caffe
    def run(inputs):
        for place, given in zip(places, inputs):
            place.copyFrom(MNN.Tensor(given.shape, kind, given, layout))
        network.runSession(session)
        for place in network.getSessionOutputAll(session).values():
            host = numpy.zeros(place.getShape(), numpy.float32)
            tensor = MNN.Tensor(place.getShape(), kind, host, layout)
            place.copyToHostTensor(tensor)
            yield numpy.array(tensor.getNumpyData())
    return lambda inputs: list(run(inputs)), lambda: planned_bytes
"""


def _write_for_resizing(model: nn.Module, shapes: tuple[Shape, ...], path: Path) -> None:
    """Write a network as ONNX for small inputs; the session is resized to those it gets.

    MNN chooses kernels for the size at which a session is made, and other kernels hold other copies
    of the weights: with one choice for all sizes, the slope has activations alone.
    """
    small = tuple((n, c, SIDES[0], SIDES[0]) for n, c, _, _ in shapes)
    write_static_onnx(model, small, path)


RUNTIME = MeasuredRuntime(
    ChildRunner("MNN", LOAD, _write_for_resizing),
    f"what its session of one thread reports, of which the slope at {SLOPE}",
)
