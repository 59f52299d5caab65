"""OpenVINO on the CPU, from ONNX. It does not say what it allocates: the process is measured."""

from bench.runtimes.child_run import ChildRunner, MeasuredRuntime
from bench.runtimes.onnx_form import write_static_onnx

LOAD = """
import openvino
def load(path, inputs, threads):
    core = openvino.Core()
    options = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
    request = core.compile_model(core.read_model(path), "CPU", options).create_infer_request()
    return lambda inputs: request.infer(inputs).values(), None
"""
RUNTIME = MeasuredRuntime(ChildRunner("OpenVINO", LOAD, write_static_onnx))
