"""A run of a network by a runtime in a fresh process: its outputs, its peak and its time.

The peak is what the runtime reports of itself, or else the high-water mark of the process, which
also has weights and code. Those do not grow with the image, so activations are the slope of the
peak over three sizes of the image, times the pixels of the one that is asked for.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor, nn

from bench.contract import Inputs, Shape
from bench.errors import ConfigError
from bench.files.log import LOG
from bench.runtimes.onnx_form import plain_copy, random_inputs
from bench.runtimes.runtime import Runtime
from bench.units import as_shapes, format_shape

SMALL = 32  # pixels of the side of an image on which outputs are compared where no time is taken
SIDES = (256, 512, 768)  # pixels of the square images of a slope
SLOPE = "{0}x{0}, {1}x{1} and {2}x{2}".format(*SIDES)
TOLERANCE = 1e-3  # of the largest output: convolutions by Winograd round more than direct ones
LINEAR = 0.02  # share of the largest peak by which the slope may miss a size, without a warning
PASSES = 3  # that are timed
BLOCK_BYTES = "65536"  # the allocator gives back blocks of this size
CHILD = """
import json, statistics, sys, time
import numpy
{load}
def high_water_bytes():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))

folder, threads, passes = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
with numpy.load(folder + "/inputs.npz") as stored:
    inputs = [stored[name] for name in stored.files]
run, report = load(folder + "/network", inputs, threads)
outputs = [numpy.array(output) for output in run(inputs)]
peak_bytes = report() if report else high_water_bytes()
seconds = []
for _ in range(passes):
    start = time.perf_counter()
    run(inputs)
    seconds.append(time.perf_counter() - start)
numpy.savez(folder + "/outputs.npz", *outputs)
with open(folder + "/result.json", "w") as result:
    json.dump([int(peak_bytes), statistics.median(seconds) if seconds else None], result)
"""
Write = Callable[[nn.Module, tuple[Shape, ...], Path], None]  # a network as a file of the runtime


def crop_shapes(shapes: tuple[Shape, ...]) -> tuple[Shape, ...]:
    """Return (N, C, H, W) of small images, for a runtime whose kernels are slow."""
    return tuple((n, c, min(h, SMALL), min(w, SMALL)) for n, c, h, w in shapes)


@dataclass(frozen=True)
class ChildRunner:
    """Runs networks by one runtime.

    Args:
        title: of the runtime.
        load: Python code that defines load(path, inputs, threads), which returns a function of the
            inputs that gives the outputs, and None or a function that gives the peak in bytes.
        write: writes a network, plain and for inputs of given shapes, to a path.
    """

    title: str
    load: str
    write: Write

    def run(self, model: nn.Module, shape: Inputs, passes: int = 0) -> tuple[int, float | None]:
        """Return the peak of one run in bytes, and the median seconds of further passes.

        Raises:
            ConfigError: the runtime does not take the network, or computes something else.
        """
        plain, inputs = plain_copy(model), random_inputs(as_shapes(shape))
        with TemporaryDirectory() as name:
            folder = Path(name)
            np.savez(folder / "inputs.npz", *(tensor.numpy() for tensor in inputs))
            self.write(plain, as_shapes(shape), folder / "network")
            arguments = [name, str(torch.get_num_threads()), str(passes)]
            process = subprocess.run(
                [sys.executable, "-c", CHILD.format(load=self.load), *arguments],
                env=os.environ
                | {"MALLOC_MMAP_THRESHOLD_": BLOCK_BYTES, "MALLOC_TRIM_THRESHOLD_": BLOCK_BYTES},
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
            )
            if process.returncode or not (folder / "result.json").exists():
                lines = process.stderr.strip().splitlines() or [f"exit {process.returncode}"]
                raise ConfigError(
                    f"{self.title} does not run {type(model).__name__} at {format_shape(shape)}: "
                    f"{lines[-1][:200]}"
                )
            with np.load(folder / "outputs.npz") as stored:
                outputs = [torch.from_numpy(stored[name]) for name in stored.files]
            peak_bytes, seconds = json.loads((folder / "result.json").read_text("utf-8"))
        self._check_outputs(plain, inputs, outputs)
        return peak_bytes, seconds

    def measure(self, model: nn.Module, shape: Inputs) -> tuple[int, float | None]:
        """Return the peak of the activations in bytes by the slope, and the seconds of an image."""
        _, seconds = self.run(model, shape, PASSES)
        images, channels = as_shapes(shape)[0][:2]
        if len(as_shapes(shape)) > 1:
            raise ConfigError(f"{self.title} is measured for networks with one input")
        peaks = [self.run(model, (images, channels, side, side))[0] for side in SIDES]
        slope, constant = np.polyfit(np.square(SIDES), peaks, 1)
        missed = np.abs(slope * np.square(SIDES) + constant - peaks).max() / max(peaks)
        if missed > LINEAR:
            LOG.warning(
                "the peak of %s is not linear in the pixels: a line misses it by %.0f %%",
                self.title,
                100 * missed,
            )
        height, width = as_shapes(shape)[0][2:]
        return int(slope * height * width), seconds

    def _check_outputs(
        self, plain: nn.Module, inputs: tuple[Tensor, ...], outputs: list[Tensor]
    ) -> None:
        with torch.no_grad():
            result = plain(*inputs)
        expected = [result] if isinstance(result, Tensor) else [*result]
        for ours, theirs in zip(expected, outputs, strict=True):
            difference = float((ours - theirs.reshape(ours.shape)).abs().max())
            if not difference <= TOLERANCE * max(float(ours.abs().max()), 1e-6):
                raise ConfigError(
                    f"{self.title} computes something else than PyTorch for "
                    f"{type(plain).__name__}: the outputs differ by up to {difference:.2g}"
                )


@dataclass(frozen=True)
class MeasuredRuntime(Runtime):
    """A runtime that is measured by running it in fresh processes.

    Args:
        runner: runs its networks.
        protocol: how its peak is found, in words.
    """

    runner: ChildRunner
    protocol: str = f"slope of the peak of its process at {SLOPE}"

    def measure(self, model: nn.Module, shape: Inputs) -> tuple[int, float | None]:
        """Return the peak by the slope, and the seconds of an image."""
        return self.runner.measure(model, shape)
