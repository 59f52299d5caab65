"""What a real run of a network allocates on this machine: the third ruler, beside *planned* and *eager*.

CPU: torch's profiler sees every allocation and release, oneDNN's buffers among them; the running
sum's maximum is the peak. CUDA: the allocator's own maximum above the level before the input is
made. The input counts, weights do not, as with the other rulers; what a Python frame holds on to
and pooling's indices count too, which those leave out.
"""

import os
import platform
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from statistics import median
from time import perf_counter

import torch
from torch import nn

from bench.contract import Inputs, Shape
from bench.torch_state import evaluating
from bench.units import shapes_of

WARM_UP_PIXELS = 64


def measured_peak_bytes(model: nn.Module, shape: Inputs, device: str = "cpu") -> int:
    """The largest sum of bytes allocated at one moment of a forward pass, in channels_last, float32, without gradients.

    Args:
        model: moved to the device.
        shape: (N, C, H, W), or several for several inputs.
        device: "cpu" or a CUDA device.
    """
    with _warm(model, shape, device):
        return _cuda(model, shape, device) if device.startswith("cuda") else _cpu(model, shape)


def image_seconds(model: nn.Module, shape: Inputs, device: str = "cpu", passes: int = 3) -> float:
    """The median time of a forward pass, under the same protocol, in passes of their own after one at full size."""
    seconds = []
    with _warm(model, shape, device):
        for _ in range(1 + passes):
            inputs = _inputs(shapes_of(shape), device)
            begun = perf_counter()
            _run(model, inputs)
            if device.startswith("cuda"):
                torch.cuda.synchronize(device)
            seconds.append(perf_counter() - begun)
    return median(seconds[1:])


def place(device: str = "cpu") -> str:
    """Where and how it was measured, for people."""
    threads = torch.get_num_threads()
    name = f"{device} {platform.machine()} with {threads} thread{'s' * (threads > 1)}"
    if device.startswith("cuda"):
        name = torch.cuda.get_device_name(device)
    return f"{name}, channels_last, float32, inference mode, after a warm-up, torch {torch.__version__}"


@contextmanager
def _warm(model: nn.Module, shape: Inputs, device: str) -> Iterator[None]:
    """Inside, the network is there where it is measured, and has run once."""
    model.to(device=torch.device(device), memory_format=torch.channels_last)  # type: ignore[call-overload]
    with evaluating(model), torch.inference_mode():
        model(
            *_inputs(
                [
                    (1, channels, WARM_UP_PIXELS, WARM_UP_PIXELS)
                    for _, channels, _, _ in shapes_of(shape)
                ],
                device,
            )
        )
        yield


def _cpu(model: nn.Module, shape: Inputs) -> int:
    os.environ.setdefault(
        "KINETO_LOG_LEVEL", "99"
    )  # or the profiler writes to the user's terminal that it starts and stops
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as watched:
        _run(model, _inputs(shapes_of(shape), "cpu"))
    events = [
        event for event in watched.profiler.kineto_results.events() if event.name() == "[memory]"
    ]
    level = highest = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        level += event.nbytes()
        highest = max(highest, level)
    return highest


def _cuda(model: nn.Module, shape: Inputs, device: str) -> int:
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    _run(model, _inputs(shapes_of(shape), device))
    return torch.cuda.max_memory_allocated(device) - before


def _run(model: nn.Module, inputs: list[torch.Tensor]) -> None:
    """One pass; a network that can let go of its inputs (bench.lean) does, as the plan has it, and any other holds them to the end."""
    consume = getattr(model, "consume", None)
    if consume is None:
        model(*inputs)
    else:
        consume(inputs)


def _inputs(shapes: Iterable[Shape], device: str) -> list[torch.Tensor]:
    return [torch.rand(one, device=device).to(memory_format=torch.channels_last) for one in shapes]
