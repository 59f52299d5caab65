"""Checks of how a method behaves: what it answers, whether it repeats itself, what it leaves behind."""

from bench.contract import Budget, Pruned, largest_first
from bench.errors import Infeasible
from bench.memory.profile import peak_memory
from bench.plugins.options import plain
from bench.runner.referee import check_peak
from bench.testing.check_runner import Broken, needs, raised
from bench.testing.class_checks import options_are_typed
from bench.testing.fixtures import SHAPE
from bench.testing.method_runs import MIDDLE, RATIOS, Call, Evidence, same_weights
from bench.testing.network_checks import fits_the_budget, networks, refereed


def sweep_answers_every_budget(evidence: Evidence) -> None:
    """A sweep answers every budget once, the largest first, with a Pruned, or with an Infeasible where there is no network."""
    needs(options_are_typed, evidence)
    _check_answers(evidence.swept, largest_first(evidence.budgets), evidence)
    for budget, outcome in evidence.swept.outcomes:
        if isinstance(outcome, Infeasible):
            share = budget.peak_bytes / peak_memory(evidence.network, SHAPE)
            raise Broken(
                f"a budget of {share:.0%} of the peak was called impossible ({outcome}); on this network it is possible"
            )


def refuses_the_impossible(evidence: Evidence) -> None:
    """A budget below what any network needs ends in Infeasible, and the other budgets of a sweep go on."""
    needs(sweep_answers_every_budget, evidence)
    error = evidence.refused.error
    if error is None:
        raise Broken(
            "prune() gave back a network for a budget of 1 byte; raise Infeasible where no network of the family fits"
        )
    if not isinstance(error, Infeasible):
        raise Broken(
            f"prune() ended in {raised(error, evidence.cls)} for a budget of 1 byte; raise Infeasible where no network fits"
        )
    _check_answers(evidence.otherwise, largest_first(evidence.other_budgets), evidence)
    if not isinstance(dict(evidence.otherwise.outcomes)[evidence.impossible], Infeasible):
        raise Broken(
            "the sweep gave a network for a budget of 1 byte; yield Infeasible where no network of the family fits"
        )


def is_deterministic(evidence: Evidence) -> None:
    """Asked twice with the same seed, it gives the same weights."""
    networks(evidence)
    one, other = _only(evidence.alone, evidence), _only(evidence.again, evidence)
    if not same_weights(one.model, other.model):
        raise Broken(
            "two calls with one seed gave different weights; draw from trainer.seed or torch, not from random, numpy or the clock"
        )


def ends_the_same_after_a_kill(evidence: Evidence) -> None:
    """Killed in the middle of its training and begun again, it ends with the same weights."""
    needs(is_deterministic, evidence)
    found = evidence.begun_anew.pruned()
    for budget, pruned in evidence.networks.items():
        if budget not in found or not same_weights(pruned.model, found[budget].model):
            raise Broken(
                "killed in its training and begun again it gave other weights; name in `callback_state` of trainer.fit all that its callbacks "
                "draw from or change and all that they take from a budget, or leave `callback_state` out"
            )


def heeds_the_convention(evidence: Evidence) -> None:
    """A budget of the convention "eager" is met as the referee measures it under that convention."""
    needs(fits_the_budget, evidence)
    needs(is_deterministic, evidence)
    refereed(
        check_peak, _only(evidence.eager, evidence).model, evidence.eager_budget, evidence.name
    )


def prune_equals_its_item_in_a_sweep(evidence: Evidence) -> None:
    """A budget gets the same network alone, in a sweep, and beside other budgets."""
    needs(is_deterministic, evidence)
    needs(refuses_the_impossible, evidence)
    _check_same(
        evidence.networks[evidence.budgets[MIDDLE]],
        _only(evidence.alone, evidence),
        "alone and in a sweep",
    )
    for budget, pruned in evidence.otherwise.pruned().items():
        if budget in evidence.networks:
            _check_same(evidence.networks[budget], pruned, "beside these budgets and beside others")


def leaves_its_input_untouched(evidence: Evidence) -> None:
    """The network that is passed in has its weights, mode, layers and hooks as before; the calibration crops are as before."""
    networks(evidence)
    _ = evidence.alone
    for what in evidence.touched:
        raise Broken(f"{what} changed; work on a copy, copy.deepcopy(model) or crops.clone()")


def leaves_its_options_as_they_were(evidence: Evidence) -> None:
    """The method is its options: nothing else is kept in it, and none of them changes."""
    networks(evidence)
    before, after = evidence.options_before, {**vars(evidence.method), **plain(evidence.method)}
    if after != before:
        raise Broken(
            f"after use the method holds {after}, before {before}; keep results in local variables"
        )


def leaves_global_state_alone(evidence: Evidence) -> None:
    """Grad mode, default dtype, threads and determinism of torch are as before; its random numbers are seeded for each job, use them."""
    networks(evidence)
    _ = evidence.alone
    for change in evidence.disturbed:
        raise Broken(f"it changed {change}; put it back before you return or yield")


def sees_training_data_only(evidence: Evidence) -> None:
    """It takes nothing from the trainer but what the contract names, and does not look at test photographs."""
    networks(evidence)
    _ = evidence.alone
    for what in evidence.task.noticed:
        raise Broken(
            f"task.{what} was called: test photographs are the referee's; use trainer.calibration and trainer.batches"
        )
    for what in evidence.outside:
        raise Broken(
            f"it used {what}, which the contract does not name; see Trainer in bench/contract.py"
        )


def _check_answers(call: Call, wanted: list[Budget], evidence: Evidence) -> None:
    """Raises Broken unless a sweep gave one answer to each budget, in this order."""
    if call.error is not None:
        raise Broken(
            f"the sweep ended in {raised(call.error, evidence.cls)} after {len(call.outcomes)} of {len(wanted)} budgets"
        )
    found = [budget for budget, _ in call.outcomes]
    if found != wanted:
        sizes = [
            [getattr(budget, "peak_bytes", budget) for budget in budgets]
            for budgets in (wanted, found)
        ]
        raise Broken(
            f"the sweep answered budgets of {sizes[1]} bytes; answer each once, largest first: {sizes[0]}"
        )
    for budget, outcome in call.outcomes:
        if not isinstance(outcome, Pruned | Infeasible):
            raise Broken(
                f"the answer to {budget.peak_bytes} bytes is a {type(outcome).__name__}; yield a Pruned or an Infeasible"
            )


def _only(call: Call, evidence: Evidence) -> Pruned:
    """The network that a call of prune() gave back. Raises Broken."""
    if call.error is not None:
        raise Broken(
            f"prune() ended in {raised(call.error, evidence.cls)} for {RATIOS[MIDDLE]:.0%} of the peak, which is possible"
        )
    ((_, outcome),) = call.outcomes
    if not isinstance(outcome, Pruned):
        raise Broken(f"prune() gave back a {type(outcome).__name__}; give back a Pruned")
    return outcome


def _check_same(one: Pruned, other: Pruned, where: str) -> None:
    for unit in {**one.kept, **other.kept}:
        widths = [
            len(pruned.kept[unit]) if unit in pruned.kept else "all" for pruned in (one, other)
        ]
        if widths[0] != widths[1]:
            raise Broken(
                f"{where}, a budget got different widths: '{unit}' keeps {widths[0]} and {widths[1]} channels"
            )
    if not same_weights(one.model, other.model):
        raise Broken(
            f"{where}, a budget got different weights; what serves one budget must not depend on the others"
        )
