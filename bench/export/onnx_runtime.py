"""The measured peak memory of one run of an ONNX file in ONNX Runtime on the CPU.

ONNX Runtime does not report how much memory its allocator has in use, so the peak is read from the
operating system: a fresh process makes a session, runs once as a warm-up (threads, kernels, code),
resets its high-water mark of resident memory, makes an input, runs, and reads the mark again. The
arena of ONNX Runtime is off, and blocks of 64 KiB or more are returned to the system as soon as
they are freed, so that only memory in use is counted. The input counts and the weights do not, as
in the memory models. Exact to about 1 MiB; Linux only. Needs the extra `onnx`.
"""

import os
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

import torch
from torch import nn

from bench.contract import Inputs
from bench.errors import ConfigError
from bench.export.onnx_file import write_onnx
from bench.runtimes.onnx_form import require_onnx
from bench.units import as_shapes, format_shape

CLEAR_REFS = Path("/proc/self/clear_refs")
BLOCK_BYTES = 64 * 1024
FATAL_ONLY = 4  # a log level of ONNX Runtime
CHILD = """
import sys
import numpy
import onnxruntime

def high_water_bytes():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))

def run():
    values = []
    for shape in shapes:
        numbers = numpy.random.default_rng(0).random(shape, dtype=numpy.float32)
        values.append(onnxruntime.OrtValue.ortvalue_from_numpy(numbers))
    session.run_with_ort_values(outputs, dict(zip(inputs, values)))

shapes = [tuple(map(int, shape.split("x"))) for shape in sys.argv[2].split(",")]
options = onnxruntime.SessionOptions()
options.enable_cpu_mem_arena = options.enable_mem_pattern = False
options.log_severity_level = 4
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
inputs = [value.name for value in session.get_inputs()]
outputs = [value.name for value in session.get_outputs()]
run()
with open("/proc/self/clear_refs", "w") as reset:
    reset.write("5")
before = high_water_bytes()
run()
print(high_water_bytes() - before)
"""


def onnx_peak_bytes(network: nn.Module | str | Path, shape: Inputs) -> int:
    """Measure the peak memory in bytes of one run in ONNX Runtime on the CPU.

    The memory that the session holds with its weights is not counted.

    Args:
        network: a module, or the path of an ONNX file.
        shape: (N, C, H, W), or several for several inputs.

    Raises:
        ConfigError: the file does not exist or does not run at this shape, the extra `onnx` is not
            installed, or the system is not Linux.
    """
    require_onnx()
    if not CLEAR_REFS.exists():
        raise ConfigError(
            "the peak of ONNX Runtime is measured on Linux only: "
            "another system does not reset its high-water mark of memory"
        )
    if not isinstance(network, nn.Module):
        return _measure_file(Path(network), shape)
    with TemporaryDirectory() as folder:
        write_onnx(network, shape, Path(folder) / "network.onnx")
        return _measure_file(Path(folder) / "network.onnx", shape)


def onnx_image_seconds(path: Path, shape: Inputs, passes: int = 3) -> float:
    """Measure the median time in seconds of one run of an ONNX file on the CPU, after a warm-up.

    It runs with torch's number of threads. Needs the extra `onnx`.
    """
    require_onnx()
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = FATAL_ONLY
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    inputs = {
        value.name: torch.rand(size).numpy()
        for value, size in zip(session.get_inputs(), as_shapes(shape), strict=True)
    }
    seconds = []
    for _ in range(1 + passes):
        start = perf_counter()
        session.run(None, inputs)
        seconds.append(perf_counter() - start)
    return median(seconds[1:])


def describe_onnx_setup() -> str:
    """Describe the machine and the protocol of the measurement. Needs the extra `onnx`."""
    require_onnx()
    threads = torch.get_num_threads()
    return (
        f"cpu {platform.machine()} with {threads} thread{'s' * (threads > 1)}, contiguous, float32,"
        f" after a warm-up, ONNX Runtime {version('onnxruntime')}, its arena off"
    )


def _measure_file(path: Path, shape: Inputs) -> int:
    if not path.is_file():
        raise ConfigError(f"there is no file {path}")
    text = format_shape(as_shapes(shape))
    settings = {
        "MALLOC_MMAP_THRESHOLD_": str(BLOCK_BYTES),
        "MALLOC_TRIM_THRESHOLD_": str(BLOCK_BYTES),
    }
    process = subprocess.run(
        [sys.executable, "-c", CHILD, str(path.resolve()), text],
        env=os.environ | settings,
        capture_output=True,
        text=True,
        check=False,
    )
    if process.returncode:
        error = (process.stderr.strip() or f"exit status {process.returncode}").splitlines()[-1]
        raise ConfigError(f"ONNX Runtime does not run {path} at {text}: {error[:200]}")
    return int(process.stdout)
