"""The harness finishes a pruned network: fine-tunes it, trains it from new weights, or neither."""

import torch

from bench.contract import Phase, Pruned
from bench.training.curves import Curve, append_points
from bench.training.trainer import TaskTrainer


def finish(trainer: TaskTrainer, pruned: Pruned, curve: Curve | None = None) -> str:
    """Train a pruned network in place, as its method asks and the recipe allows.

    Args:
        trainer: the trainer of the finish. Its `tuned` steps are those of the method, and are
            deducted where the recipe has matched steps.
        pruned: what the method gave back, after `detach_result`.
        curve: gets (steps done, PSNR in dB on the calibration crops) along the way, which costs
            the network nothing.

    Returns:
        A note for the record if the method took more steps than every row gets, else "".
    """
    model = pruned.model
    torch.manual_seed(trainer.seed)  # dropout draws the same whatever the method drew before

    def measure() -> float:
        with trainer.branch():
            return trainer.psnr_db(model)

    def train(steps: int, phase: Phase) -> None:
        if curve is None:
            trainer.fit(model, steps, phase=phase)
        else:
            after_step = append_points(curve, steps, measure)
            state = {"curve": curve}
            trainer.fit(model, steps, phase=phase, after_step=after_step, callback_state=state)

    if pruned.finish == "scratch":
        trainer.reinitialise(model)
        train(trainer.recipe.pretrain_steps, "pretrain")
    steps = trainer.recipe.tuning_steps
    matched = trainer.recipe.matched_steps
    if matched:
        steps -= trainer.tuned
    if pruned.finish != "none":
        train(max(0, steps), "finetune")
    if matched and steps < 0:
        return f"the method alone took {-steps} steps more than the {matched} that every row gets"
    return ""
