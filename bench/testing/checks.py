"""The promises of methods and tasks, one check for each promise.

    from prunebench import check_method

    for finding in check_method(Mine):
        print(finding.status, finding.name, finding.reason)

The reference method `unpruned` is exempt: it removes nothing, so it fits no budget of these checks.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from bench.contract import Method, Task
from bench.testing import behaviour_checks, class_checks, network_checks, task_checks
from bench.testing.check_runner import Check, Finding, run_check
from bench.testing.method_runs import MethodEvidence
from bench.testing.task_checks import TaskEvidence

METHOD_CHECKS: tuple[Check, ...] = (
    class_checks.is_a_method,
    class_checks.cites_its_source,
    class_checks.options_are_typed,
    class_checks.says_how_long_it_trains,
    class_checks.travels_to_a_worker,
    behaviour_checks.sweep_answers_every_budget,
    network_checks.gives_back_a_plain_network,
    network_checks.keeps_the_shape_of_the_output,
    network_checks.fits_the_budget,
    network_checks.names_what_it_kept,
    network_checks.is_really_smaller,
    network_checks.survives_save_and_load,
    network_checks.counts_what_it_stores,
    network_checks.asks_for_a_known_finish,
    network_checks.keeps_a_true_trace,
    behaviour_checks.is_deterministic,
    behaviour_checks.ends_the_same_after_a_kill,
    behaviour_checks.heeds_the_convention,
    behaviour_checks.keeps_channel_multiples,
    behaviour_checks.refuses_the_impossible,
    behaviour_checks.prune_equals_its_item_in_a_sweep,
    behaviour_checks.trains_on_the_one_curve,
    behaviour_checks.books_its_training,
    behaviour_checks.reads_no_files,
    behaviour_checks.leaves_its_input_untouched,
    behaviour_checks.leaves_its_options_as_they_were,
    behaviour_checks.leaves_global_state_alone,
    behaviour_checks.sees_training_data_only,
)

TASK_CHECKS: tuple[Check, ...] = (
    task_checks.is_a_task,
    task_checks.builds_every_backbone,
    task_checks.its_networks_can_be_pruned,
    task_checks.initialises_by_the_generator_alone,
    task_checks.crops_have_the_right_shapes,
    task_checks.crops_come_from_the_generator_alone,
    task_checks.loss_is_differentiable,
    task_checks.scores_have_psnr_and_ssim,
    task_checks.photographs_stay_the_same,
    task_checks.calibration_is_no_test_photograph,
)


def check_method(cls: type[Method], options: Mapping[str, Any] | None = None) -> Iterator[Finding]:
    """Check a method on a tiny network, with a training of a few steps.

    Args:
        cls: the class of the method.
        options: options of the method, if the defaults are meant for large networks.

    Yields:
        The finding of each check, as soon as the check has run.
    """
    evidence = MethodEvidence(cls, options or {})
    for check in METHOD_CHECKS:
        yield run_check(check, evidence)


def check_task(
    cls: type[Task], options: Mapping[str, Any] | None = None, data: str = "embedded"
) -> Iterator[Finding]:
    """Check a task on its own photographs and networks.

    Args:
        cls: the class of the task.
        options: options of the task, as in a study.
        data: "embedded", or the folder of photographs.

    Yields:
        The finding of each check, as soon as the check has run.
    """
    evidence = TaskEvidence(cls, options or {}, data)
    for check in TASK_CHECKS:
        yield run_check(check, evidence)
