"""Scores of a network on a task's test photographs.

A photograph is padded to the task's multiple (by reflection where that is possible), restored in
one pass, and cropped to its size; the metric clamps and rounds.
"""

from collections.abc import Callable, Iterator, Mapping
from statistics import fmean

import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.contract import Pair, Shape, Task
from bench.torch_state import eval_mode, to_channels_last

# test set -> photograph -> metric -> value
TestScores = Mapping[str, Mapping[str, Mapping[str, float]]]
OnImage = Callable[[str, Pair, Tensor], None]  # test set, pair, restored (C, H, W)


def evaluate(
    task: Task,
    model: nn.Module,
    data: str,
    device: str = "cpu",
    *,
    on_image: OnImage | None = None,
    whole: bool = False,
) -> TestScores:
    """Return the scores of every restored test photograph.

    Args:
        task: names the test sets and the metrics.
        model: the network; moved to the device.
        data: where the photographs are.
        device: where they are restored.
        on_image: called with (test set, pair, restored image) for each of them.
        whole: whether photographs that `data` has to train on are test photographs too.
    """
    to_channels_last(model, device)

    def restore_pair(pair: Pair) -> Tensor:
        return restore(model, pair.degraded.to(device), task.size_multiple).cpu()

    with eval_mode(model), torch.inference_mode():
        return _score_photographs(task, data, restore_pair, on_image, whole)


def input_scores(task: Task, data: str, *, whole: bool = False) -> TestScores:
    """Return the scores of the test photographs without a network."""

    def show_pair(pair: Pair) -> Tensor:
        return task.baseline_image(pair.degraded)

    return _score_photographs(task, data, show_pair, whole=whole)


def means(scores: TestScores) -> dict[str, float]:
    """Return metric -> mean over the photographs of all test sets."""
    photographs = [metrics for photos in scores.values() for metrics in photos.values()]
    return {
        metric: fmean(metrics[metric] for metrics in photographs)
        for metric in (photographs[0] if photographs else ())
    }


def restore(model: nn.Module, degraded: Tensor, multiple: int = 1) -> Tensor:
    """Restore an image (C, H, W) -> (C, s H, s W), where s is the network's magnification.

    The network gets H and W rounded up to the multiple.
    """
    height, width = degraded.shape[-2:]
    padded = pad_to_multiple(degraded[None], multiple).to(memory_format=torch.channels_last)
    restored = model(padded)[0]
    scale = restored.shape[-1] // padded.shape[-1]
    return restored[:, : height * scale, : width * scale].contiguous()


def photograph_shapes(task: Task, data: str) -> Iterator[Shape]:
    """Yield the shape (1, 3, H, W) in which a network gets each test photograph."""
    for pairs in task.test_sets(data).values():
        for pair in pairs:
            channels, *sizes = pair.degraded.shape
            height, width = (size + -size % task.size_multiple for size in sizes)
            yield 1, channels, height, width


def pad_to_multiple(x: Tensor, multiple: int) -> Tensor:
    """Pad H and W of (N, C, H, W) to a multiple, by reflection or, if too small, by replication."""
    down, right = (-x.shape[-2] % multiple, -x.shape[-1] % multiple)
    if not down and not right:
        return x
    mode = "reflect" if down < x.shape[-2] and right < x.shape[-1] else "replicate"
    return functional.pad(x, (0, right, 0, down), mode=mode)


def _score_photographs(
    task: Task,
    data: str,
    restore_pair: Callable[[Pair], Tensor],
    on_image: OnImage | None = None,
    whole: bool = False,
) -> TestScores:
    scores: dict[str, dict[str, Mapping[str, float]]] = {}
    sets = task.all_photographs(data) if whole else task.test_sets(data)
    for name, pairs in sets.items():
        scores[name] = {}
        for pair in pairs:
            image = restore_pair(pair)
            metrics = task.score(image, pair.clean)
            scores[name][pair.name] = {metric: float(value) for metric, value in metrics.items()}
            if on_image:
                on_image(name, pair, image)
    return scores


def mean_psnr_db(restored: Tensor, clean: Tensor) -> Tensor:
    """Return the mean over images (N, C, H, W) of PSNR in dB; equal ones get 100 dB."""
    errors = (restored.clamp(0, 1) - clean).square().flatten(1).mean(dim=1)
    return -10 * errors.clamp(min=1e-10).log10().mean()
