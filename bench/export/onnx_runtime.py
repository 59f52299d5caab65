"""What ONNX Runtime needs on the CPU: the measured peak of one run of a network as an ONNX file.

ONNX Runtime tells nobody how much its allocator has in use, so the peak is read from the operating
system: a fresh process makes a session, runs once to settle (threads, kernels, code), resets its
high-water mark of resident memory, makes an input, runs, and reads the mark again. ONNX Runtime's
arena is off, and blocks from 64 KiB on are given back as soon as they are freed, so that what is
counted is in use. The input counts and weights do not, as with the other rulers. Exact to about 1
MiB; Linux only. Needs the extra `onnx`.
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
from bench.export.onnx_file import require_onnx, write_onnx
from bench.units import format_shape, shapes_of

RESET = Path("/proc/self/clear_refs")
BLOCK_BYTES = 64 * 1024
QUIET = 4  # ONNX Runtime's level for what is fatal
CHILD = """
import sys
import numpy
import onnxruntime

def high_water_bytes():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))

def run():
    values = []
    for one in shapes:
        numbers = numpy.random.default_rng(0).random(one, dtype=numpy.float32)
        values.append(onnxruntime.OrtValue.ortvalue_from_numpy(numbers))
    session.run_with_ort_values(outputs, dict(zip(inputs, values)))

shapes = [tuple(map(int, one.split("x"))) for one in sys.argv[2].split(",")]
options = onnxruntime.SessionOptions()
options.enable_cpu_mem_arena = options.enable_mem_pattern = False
options.log_severity_level = 4
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
inputs = [one.name for one in session.get_inputs()]
outputs = [one.name for one in session.get_outputs()]
run()
with open("/proc/self/clear_refs", "w") as reset:
    reset.write("5")
before = high_water_bytes()
run()
print(high_water_bytes() - before)
"""


def onnx_peak_bytes(network: nn.Module | str | Path, shape: Inputs) -> int:
    """The most memory that one run needs in ONNX Runtime on the CPU, above what the session with its weights holds.

    Args:
        network: a module, or the path of an ONNX file.
        shape: (N, C, H, W), or several for several inputs.

    Raises:
        ConfigError: the file is not there or does not run at this shape, the extra `onnx` is not
            installed, or this is not Linux.
    """
    require_onnx()
    if not RESET.exists():
        raise ConfigError(
            "the peak of ONNX Runtime is measured on Linux only: another system does not reset its high-water mark of memory"
        )
    if not isinstance(network, nn.Module):
        return _peak_of_file(Path(network), shape)
    with TemporaryDirectory() as folder:
        write_onnx(network, shape, Path(folder) / "network.onnx")
        return _peak_of_file(Path(folder) / "network.onnx", shape)


def onnx_image_seconds(path: Path, shape: Inputs, passes: int = 3) -> float:
    """The median time of one run of an ONNX file on the CPU with torch's number of threads, after one to settle. Needs the extra `onnx`."""
    require_onnx()
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = torch.get_num_threads(), QUIET
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    inputs = {
        one.name: torch.rand(size).numpy()
        for one, size in zip(session.get_inputs(), shapes_of(shape), strict=True)
    }
    seconds = []
    for _ in range(1 + passes):
        begun = perf_counter()
        session.run(None, inputs)
        seconds.append(perf_counter() - begun)
    return median(seconds[1:])


def onnx_place() -> str:
    """Where and how it is measured, for people. Needs the extra `onnx`."""
    require_onnx()
    threads = torch.get_num_threads()
    place = (
        f"cpu {platform.machine()} with {threads} thread{'s' * (threads > 1)}, contiguous, float32"
    )
    return f"{place}, after a warm-up, ONNX Runtime {version('onnxruntime')}, its arena off"


def _peak_of_file(path: Path, shape: Inputs) -> int:
    if not path.is_file():
        raise ConfigError(f"there is no file {path}")
    text = format_shape(shapes_of(shape))
    settings = {
        "MALLOC_MMAP_THRESHOLD_": str(BLOCK_BYTES),
        "MALLOC_TRIM_THRESHOLD_": str(BLOCK_BYTES),
    }
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(path.resolve()), text],
        env=os.environ | settings,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        last = (done.stderr.strip() or f"exit status {done.returncode}").splitlines()[-1]
        raise ConfigError(f"ONNX Runtime does not run {path} at {text}: {last[:200]}")
    return int(done.stdout)
