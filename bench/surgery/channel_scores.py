"""The criteria that order channels, by name: every method that removes channels offers them all.

They are described in bench.surgery.importance, where all are computed but "taylor", which is the
library's own (bench.surgery.torch_pruning_importance).
"""

from typing import Literal

from torch import nn

from bench.channels.units import Layout
from bench.contract import Trainer
from bench.surgery.importance import (
    ChannelScores,
    activation_scores,
    channel_norms,
    gate_gradients,
    normalised_norms,
    random_scores,
)
from bench.surgery.narrowed_runs import NarrowedRuns
from bench.surgery.torch_pruning_importance import library_scores
from bench.torch_state import eval_mode

Importance = Literal[
    "l1", "l2", "normalised_l2", "gradient", "fisher", "taylor", "activation", "random"
]


def score_channels(
    importance: Importance,
    network: nn.Module,
    layout: Layout,
    trainer: Trainer,
    runs: NarrowedRuns | None = None,
) -> ChannelScores:
    """Return the importance of each channel by a criterion; the least important has the lowest.

    Args:
        importance: the criterion. Norms and "random" need no data.
        network: is moved to the trainer's device where data are needed, runs in eval mode, and its
            forward passes are counted.
        layout: of the network.
        trainer: gives calibration crops and their loss, and the seed of "random".
        runs: of the network, where the scores of its units are enough; gradients then start at the
            first layer that reads one of them.

    Returns:
        Unit -> (C,), on the CPU.

    Raises:
        ConfigError: the criterion needs data, and the trainer has none.
    """
    if importance in ("l1", "l2"):
        return channel_norms(network, layout, order=1 if importance == "l1" else 2)
    if importance == "normalised_l2":
        return normalised_norms(network, layout)
    if importance == "random":
        return random_scores(layout, trainer.seed)
    batches, criterion = trainer.calibration, trainer.criterion
    run = runs.network if runs else network
    run.to(trainer.device)
    with trainer.count_calls(run), trainer.count_calls(network), eval_mode(run):
        if importance == "activation":
            return activation_scores(network, layout, batches)
        if importance == "taylor":
            return library_scores(
                network, layout, "taylor", batches=batches, criterion=criterion, normalised=False
            )
        power = 2 if importance == "fisher" else 1
        return gate_gradients(network, layout, batches, criterion, power, runs)
