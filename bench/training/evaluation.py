"""Scores of a network on a task's test photographs.

A photograph is padded to the task's multiple (by reflection where that is possible), restored in
one pass, and cut back; clamping and rounding are the metric's.
"""

from collections.abc import Callable, Mapping
from statistics import fmean

import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.contract import Pair, Task
from bench.torch_state import evaluating
from bench.training.sample_crops import Look

Scores = Mapping[
    str, Mapping[str, Mapping[str, float]]
]  # test set -> photograph -> metric -> value


def evaluate(
    task: Task, model: nn.Module, data: str, device: str = "cpu", look: Look | None = None
) -> Scores:
    """Scores of every restored test photograph: {test set: {photograph: {metric: value}}}; `look` sees each of them."""
    model.to(device=torch.device(device), memory_format=torch.channels_last)  # type: ignore[call-overload]
    with evaluating(model), torch.inference_mode():
        return _scored(
            task,
            data,
            lambda pair: restore(model, pair.degraded.to(device), task.size_multiple).cpu(),
            look,
        )


def input_scores(task: Task, data: str) -> Scores:
    """The same for what a viewer has without a network."""
    return _scored(task, data, lambda pair: task.baseline_image(pair.degraded))


def means(scores: Scores) -> dict[str, float]:
    """Metric -> mean over the photographs of all test sets."""
    photographs = [metrics for photos in scores.values() for metrics in photos.values()]
    return {
        metric: fmean(metrics[metric] for metrics in photographs)
        for metric in (photographs[0] if photographs else ())
    }


def restore(model: nn.Module, degraded: Tensor, multiple: int = 1) -> Tensor:
    """(C, H, W) -> (C, s H, s W), where s is the network's magnification; it sees H and W rounded up to a multiple."""
    height, width = degraded.shape[-2:]
    padded = padded_to_multiple(degraded[None], multiple).to(memory_format=torch.channels_last)
    restored = model(padded)[0]
    scale = restored.shape[-1] // padded.shape[-1]
    return restored[:, : height * scale, : width * scale].contiguous()


def padded_to_multiple(x: Tensor, multiple: int) -> Tensor:
    """(N, C, H, W) -> the same with H and W rounded up to a multiple, by reflection or, where x is too small, replication."""
    down, right = (-x.shape[-2] % multiple, -x.shape[-1] % multiple)
    if not down and not right:
        return x
    mode = "reflect" if down < x.shape[-2] and right < x.shape[-1] else "replicate"
    return functional.pad(x, (0, right, 0, down), mode=mode)


def _scored(
    task: Task, data: str, image: Callable[[Pair], Tensor], look: Look | None = None
) -> Scores:
    scores: dict[str, dict[str, Mapping[str, float]]] = {}
    for name, pairs in task.test_sets(data).items():
        scores[name] = {}
        for pair in pairs:
            shown = image(pair)
            scores[name][pair.name] = {
                metric: float(value) for metric, value in task.score(shown, pair.clean).items()
            }
            if look:
                look(name, pair, shown)
    return scores
