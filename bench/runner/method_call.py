"""One call of a method, the same for a study, for `bench.api` and for the checks of a method.

    with call_method(model, trainer, torch_seed) as root:
        pruned = method.prune(root, budget, trainer)
    pruned = detach_result(pruned, trainer)

A method gets a copy of the network; what it gives back is copied before the harness uses it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace

import torch
from torch import nn

from bench.contract import Pruned
from bench.training.trainer import TaskTrainer


@contextmanager
def call_method(model: nn.Module, trainer: TaskTrainer, torch_seed: int) -> Iterator[nn.Module]:
    """Yield the copy of a network that a method gets, and count the calls of it.

    The copy is on the trainer's device. Inside the block torch's own random numbers are seeded;
    at its end the trainer's batches and meter and torch's random numbers are restored, so read
    the cost inside.
    """
    root = trainer.prepare(deepcopy(model))
    torch.manual_seed(torch_seed)
    with trainer.branch(), trainer.count_calls(root):
        yield root


def detach_result(pruned: Pruned, trainer: TaskTrainer) -> Pruned:
    """Return what a method gave back, with a copy of the network on the CPU.

    Later work of the method cannot reach the copy, nor does training the copy reach the method's
    own networks. The counter of calls is removed.
    """
    model = deepcopy(pruned.model).cpu()
    trainer.remove_call_counter(model)
    return replace(pruned, model=model)
