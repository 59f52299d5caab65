"""Memory that a real run of a network allocates on this machine, beside *planned* and *eager*.

CPU: torch's profiler sees every allocation and release, including the buffers of oneDNN; the peak
is the maximum of their running sum. CUDA: the maximum that the allocator reports, above the level
before the input is made. As in the memory model, inputs count and weights do not. In contrast to
the model, values that a Python frame still holds and the indices of a pooling count too.
"""

import os
import platform
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from statistics import median
from time import perf_counter

import torch
from torch import nn

from bench.contract import Inputs, Shape
from bench.torch_state import eval_mode, to_channels_last
from bench.units import as_shapes

WARM_UP_PIXELS = 64


def measured_peak_bytes(model: nn.Module, shape: Inputs, device: str = "cpu") -> int:
    """Return the most bytes that are allocated at one moment of a forward pass.

    The pass runs in channels_last and float32, without gradients.

    Args:
        model: moved to the device.
        shape: (N, C, H, W), or several for several inputs.
        device: "cpu" or a CUDA device.
    """
    with _warm_up(model, shape, device):
        if device.startswith("cuda"):
            return _cuda_peak_bytes(model, shape, device)
        return _cpu_peak_bytes(model, shape)


def image_seconds(model: nn.Module, shape: Inputs, device: str = "cpu", passes: int = 3) -> float:
    """Return the median time of a forward pass, measured under the same protocol.

    The timed passes are separate from the one that measures memory, and follow one untimed pass at
    full size.
    """
    return seconds_in_turn([(model, shape)], device, passes)[0]


def seconds_in_turn(
    runs: Sequence[tuple[nn.Module, Inputs]], device: str = "cpu", passes: int = 3
) -> list[float]:
    """Return the median time of a forward pass of each network at its input.

    The networks run in turn, so that a busy machine is equally busy for all.
    """
    seconds: list[list[float]] = [[] for _ in runs]
    with ExitStack() as stack:
        for model, shape in runs:
            stack.enter_context(_warm_up(model, shape, device))
        for _ in range(1 + passes):
            for (model, shape), times in zip(runs, seconds, strict=True):
                times.append(_time_pass(model, shape, device))
    return [median(times[1:]) for times in seconds]


def _time_pass(model: nn.Module, shape: Inputs, device: str) -> float:
    inputs = _random_inputs(as_shapes(shape), device, _dtype(model))
    start = perf_counter()
    _run(model, inputs)
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
    return perf_counter() - start


def describe_protocol(device: str = "cpu") -> str:
    """Return the device and the protocol of the measurement as text."""
    threads = torch.get_num_threads()
    name = f"{device} {platform.machine()} with {threads} thread{'s' * (threads > 1)}"
    if device.startswith("cuda"):
        name = torch.cuda.get_device_name(device)
    return (
        f"{name}, channels_last, float32, inference mode, after a warm-up, "
        f"torch {torch.__version__}"
    )


@contextmanager
def _warm_up(model: nn.Module, shape: Inputs, device: str) -> Iterator[None]:
    """Move the network to the device and run it once, before the body runs.

    Inputs are small, unless the network does not accept small ones.
    """
    to_channels_last(model, device)
    small_shapes = [
        (1, channels, WARM_UP_PIXELS, WARM_UP_PIXELS) for _, channels, _, _ in as_shapes(shape)
    ]
    with eval_mode(model), torch.inference_mode():
        try:
            model(*_random_inputs(small_shapes, device, _dtype(model)))
        except Exception:  # a network may raise anything
            model(*_random_inputs(as_shapes(shape), device, _dtype(model)))
        yield


def _cpu_peak_bytes(model: nn.Module, shape: Inputs) -> int:
    # Without this the profiler writes to the user's terminal when it starts and stops.
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        _run(model, _random_inputs(as_shapes(shape), "cpu", _dtype(model)))
    events = [
        event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"
    ]
    level = highest = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        level += event.nbytes()
        highest = max(highest, level)
    return highest


def _cuda_peak_bytes(model: nn.Module, shape: Inputs, device: str) -> int:
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    _run(model, _random_inputs(as_shapes(shape), device, _dtype(model)))
    return torch.cuda.max_memory_allocated(device) - before


def _run(model: nn.Module, inputs: list[torch.Tensor]) -> None:
    """Run one forward pass.

    A network that can free its inputs early (bench.lean) does so, as the plan assumes; for any
    other network they stay allocated until the end.
    """
    consume = getattr(model, "consume", None)
    if consume is None:
        model(*inputs)
    else:
        consume(inputs)


def _dtype(model: nn.Module) -> torch.dtype:
    """Return the type of a network's weights, which its inputs have too."""
    return next((weight.dtype for weight in model.parameters()), torch.float32)


def _random_inputs(shapes: Iterable[Shape], device: str, dtype: torch.dtype) -> list[torch.Tensor]:
    # Made in channels_last at once: a conversion would hold the input twice while it is measured.
    layout = torch.channels_last
    return [
        torch.empty(shape, device=device, dtype=dtype, memory_format=layout).uniform_()
        for shape in shapes
    ]
