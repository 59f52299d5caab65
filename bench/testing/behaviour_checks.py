"""Checks of a method's behaviour: its answers to budgets, its determinism, its side effects."""

from collections.abc import Iterable
from typing import Any

from bench.contract import Budget, Pruned, largest_first
from bench.errors import Infeasible
from bench.memory.profile import peak_memory
from bench.plugins.options import option_values
from bench.runner.referee import check_multiples, check_peak
from bench.testing.check_runner import CheckFailed, CheckSkipped, describe_exception, require
from bench.testing.class_checks import options_are_typed
from bench.testing.fixtures import RECIPE, SHAPE
from bench.testing.method_runs import MIDDLE, RATIOS, MethodCall, MethodEvidence, have_same_weights
from bench.testing.network_checks import apply_rule, fits_the_budget, require_networks
from bench.training.learning_rates import learning_rates

RATE_SUM_TOLERANCE = 0.02  # relative


def sweep_answers_every_budget(evidence: MethodEvidence) -> None:
    """A sweep yields one Pruned or Infeasible for every budget, the largest budget first."""
    require(options_are_typed, evidence)
    _check_answers(evidence.sweep_call, largest_first(evidence.budgets), evidence)
    for budget, outcome in evidence.sweep_call.outcomes:
        if isinstance(outcome, Infeasible):
            share = budget.peak_bytes / peak_memory(evidence.network, SHAPE)
            raise CheckFailed(
                f"a budget of {share:.0%} of the peak was called impossible ({outcome}); "
                "on this network it is possible"
            )


def refuses_the_impossible(evidence: MethodEvidence) -> None:
    """A budget that no network fits ends in Infeasible, and the sweep continues with the others."""
    require(sweep_answers_every_budget, evidence)
    error = evidence.impossible_call.error
    if error is None:
        raise CheckFailed(
            "prune() returned a network for a budget of 1 byte; "
            "raise Infeasible if no network of the family fits"
        )
    if not isinstance(error, Infeasible):
        raise CheckFailed(
            f"prune() ended in {describe_exception(error, evidence.cls)} for a budget of 1 byte; "
            "raise Infeasible if no network fits"
        )
    _check_answers(evidence.other_sweep_call, largest_first(evidence.other_budgets), evidence)
    if not isinstance(dict(evidence.other_sweep_call.outcomes)[evidence.impossible], Infeasible):
        raise CheckFailed(
            "the sweep yielded a network for a budget of 1 byte; "
            "yield Infeasible if no network of the family fits"
        )


def is_deterministic(evidence: MethodEvidence) -> None:
    """Two calls with the same seed give the same weights."""
    require_networks(evidence)
    first = _single_result(evidence.prune_call, evidence)
    second = _single_result(evidence.repeated_call, evidence)
    if not have_same_weights(first.model, second.model):
        raise CheckFailed(
            "two calls with one seed gave different weights; "
            "draw from trainer.seed or torch, not from random, numpy or the clock"
        )


def ends_the_same_after_a_kill(evidence: MethodEvidence) -> None:
    """Killed in the middle of its training and started again, it ends with the same weights."""
    require(is_deterministic, evidence)
    resumed = evidence.resumed_call.pruned_networks()
    for budget, pruned in evidence.networks.items():
        if budget not in resumed or not have_same_weights(pruned.model, resumed[budget].model):
            raise CheckFailed(
                "killed in its training and started again it gave other weights; name in "
                "`callback_state` of trainer.fit all that its callbacks draw from or change and "
                "all that they take from a budget, or leave `callback_state` out"
            )


def heeds_the_convention(evidence: MethodEvidence) -> None:
    """The eager peak that the referee measures is at most a budget of the convention "eager"."""
    require(fits_the_budget, evidence)
    require(is_deterministic, evidence)
    pruned = _single_result(evidence.eager_call, evidence)
    apply_rule(check_peak, pruned.model, evidence.eager_budget, evidence.name)


def keeps_channel_multiples(evidence: MethodEvidence) -> None:
    """Under a budget that asks for multiples of channels, all widths are, and the peak fits."""
    require(fits_the_budget, evidence)
    require(is_deterministic, evidence)
    call, budget = evidence.multiple_call, evidence.multiple_budget
    if isinstance(call.error, Infeasible):
        raise CheckSkipped(f"its family has no such network: {call.error}")
    pruned = _single_result(call, evidence)
    apply_rule(check_peak, pruned.model, budget, evidence.name)
    apply_rule(check_multiples, pruned, evidence.rebuild(pruned), budget)


def prune_equals_its_item_in_a_sweep(evidence: MethodEvidence) -> None:
    """A budget gets the same network from prune(), in a sweep, and in a sweep of other budgets."""
    require(is_deterministic, evidence)
    require(refuses_the_impossible, evidence)
    alone = _single_result(evidence.prune_call, evidence)
    _check_equal(evidence.networks[evidence.budgets[MIDDLE]], alone, "alone and in a sweep")
    for budget, pruned in evidence.other_sweep_call.pruned_networks().items():
        if budget in evidence.networks:
            _check_equal(evidence.networks[budget], pruned, "in two sweeps with other budgets")


def trains_on_the_one_curve(evidence: MethodEvidence) -> None:
    """After pretraining, method and harness together have the learning rates of the recipe."""
    require_networks(evidence)
    expected = sum(learning_rates(RECIPE, "finetune", 0, RECIPE.matched_steps))
    call = evidence.sweep_call
    for (budget, pruned), spent in zip(call.outcomes, call.costs, strict=True):
        if not isinstance(pruned, Pruned):
            continue
        total = spent + evidence.finish_cost(pruned, spent)
        if spent.steps["pretrain"] > RECIPE.pretrain_steps:
            raise CheckFailed(
                f"at {budget.peak_bytes} bytes it spent {spent.steps['pretrain']} steps of phase "
                f"'pretrain'; a network from new weights has {RECIPE.pretrain_steps}"
            )
        if (
            total.tuning_steps != RECIPE.matched_steps
            or abs(total.tuning_rate_sum / expected - 1) > RATE_SUM_TOLERANCE
        ):
            raise CheckFailed(
                f"at {budget.peak_bytes} bytes, {total.tuning_steps} steps after pretraining have "
                f"a sum of learning rates of {total.tuning_rate_sum:.3g}; every row must have "
                f"{RECIPE.matched_steps} steps and {expected:.3g}: train with trainer.fit, and "
                "leave the rest to the harness (finish 'finetune') or train recipe.tuning_steps "
                "steps (finish 'none')"
            )


def books_its_training(evidence: MethodEvidence) -> None:
    """Every training step and sample is booked: it trains by `trainer.fit` alone."""
    require_networks(evidence)
    _ = evidence.prune_call  # makes the call
    if evidence.unbooked_work:
        raise CheckFailed(
            f"the harness saw {evidence.unbooked_work[0]}; train with trainer.fit, outside "
            "trainer.branch unless the result is given back inside it, and declare the gradients "
            "of scores in scoring_passes"
        )


def reads_no_files(evidence: MethodEvidence) -> None:
    """It touches no files but code, no other process and no network: its data are the trainer's."""
    require_networks(evidence)
    _ = evidence.prune_call  # makes the call
    if evidence.work_outside:
        raise CheckFailed(
            f"it {evidence.work_outside[0]}; use trainer.calibration and trainer.batches, and "
            "touch no files, processes, threads or connections of your own"
        )


def leaves_its_input_untouched(evidence: MethodEvidence) -> None:
    """The network that is passed in (weights, mode, layers, hooks) and the crops stay unchanged."""
    require_networks(evidence)
    _ = evidence.prune_call  # makes the call
    if evidence.changed_inputs:
        raise CheckFailed(
            f"{evidence.changed_inputs[0]} changed; "
            "work on a copy, copy.deepcopy(model) or crops.clone()"
        )


def leaves_its_options_as_they_were(evidence: MethodEvidence) -> None:
    """The method holds its options and nothing else, and they do not change."""
    require_networks(evidence)
    before = evidence.options_before
    after = {**vars(evidence.method), **option_values(evidence.method)}
    if after != before:
        raise CheckFailed(
            f"after use the method holds {after}, before {before}; keep results in local variables"
        )


def leaves_global_state_alone(evidence: MethodEvidence) -> None:
    """The global state is as before: torch's modes, environment, working folder, signals, hooks.

    Torch's random numbers may be used: they are seeded for each job.
    """
    require_networks(evidence)
    _ = evidence.prune_call  # makes the call
    if evidence.changed_state:
        raise CheckFailed(
            f"it changed {evidence.changed_state[0]}; put it back before you return or yield"
        )


def sees_training_data_only(evidence: MethodEvidence) -> None:
    """It uses the trainer only as the contract says, and no test photographs."""
    require_networks(evidence)
    _ = evidence.prune_call  # makes the call
    if evidence.task.forbidden_calls:
        raise CheckFailed(
            f"task.{evidence.task.forbidden_calls[0]} was called: "
            "test photographs are reserved for the referee; "
            "use trainer.calibration and trainer.batches"
        )
    if evidence.unknown_attributes:
        raise CheckFailed(
            f"it used {evidence.unknown_attributes[0]}, which the contract does not name; "
            "see prunebench.Trainer"
        )


def _check_answers(call: MethodCall, budgets: list[Budget], evidence: MethodEvidence) -> None:
    """Raise CheckFailed unless a sweep gave one answer to each budget, in this order."""
    if call.error is not None:
        raise CheckFailed(
            f"the sweep ended in {describe_exception(call.error, evidence.cls)} "
            f"after {len(call.outcomes)} of {len(budgets)} budgets"
        )
    answered = [budget for budget, _ in call.outcomes]
    if answered != budgets:
        raise CheckFailed(
            f"the sweep answered budgets of {_format_sizes(answered)} bytes; "
            f"answer each once, largest first: {_format_sizes(budgets)}"
        )
    for budget, outcome in call.outcomes:
        if not isinstance(outcome, Pruned | Infeasible):
            raise CheckFailed(
                f"the answer to {budget.peak_bytes} bytes is a {type(outcome).__name__}; "
                "yield a Pruned or an Infeasible"
            )


def _format_sizes(budgets: Iterable[Any]) -> str:
    return str([getattr(budget, "peak_bytes", budget) for budget in budgets])


def _single_result(call: MethodCall, evidence: MethodEvidence) -> Pruned:
    """Return the result of a call of prune(). Raises CheckFailed if it is no Pruned."""
    if call.error is not None:
        raise CheckFailed(
            f"prune() ended in {describe_exception(call.error, evidence.cls)} "
            f"for {RATIOS[MIDDLE]:.0%} of the peak, which is possible"
        )
    ((_, outcome),) = call.outcomes
    if not isinstance(outcome, Pruned):
        raise CheckFailed(f"prune() returned a {type(outcome).__name__}; return a Pruned")
    return outcome


def _check_equal(first: Pruned, second: Pruned, circumstances: str) -> None:
    """Raise CheckFailed unless two results for one budget have the same widths and weights."""
    for unit in {**first.kept, **second.kept}:
        widths = [
            len(pruned.kept[unit]) if unit in pruned.kept else "all" for pruned in (first, second)
        ]
        if widths[0] != widths[1]:
            raise CheckFailed(
                f"{circumstances}, a budget got different widths: "
                f"'{unit}' keeps {widths[0]} and {widths[1]} channels"
            )
    if not have_same_weights(first.model, second.model):
        raise CheckFailed(
            f"{circumstances}, a budget got different weights; "
            "the result for one budget must not depend on the others"
        )
