"""What a method and a task promise, one check for each promise.

    for finding in check_method(Mine):
        print(finding.status, finding.name, finding.reason)

The neutral member `unpruned` is exempt: it removes nothing, so it can fit no budget of these checks.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from bench.contract import Method, Task
from bench.testing import of_class, of_conduct, of_networks, of_task
from bench.testing.evidence import Evidence
from bench.testing.findings import Check, Finding, look
from bench.testing.of_task import TaskEvidence

METHOD_CHECKS: tuple[Check, ...] = (
    of_class.is_a_method,
    of_class.cites_its_source,
    of_class.options_are_typed,
    of_class.says_how_long_it_trains,
    of_class.travels_to_a_worker,
    of_conduct.sweep_answers_every_budget,
    of_networks.gives_back_a_plain_network,
    of_networks.keeps_the_shape_of_the_output,
    of_networks.fits_the_budget,
    of_networks.names_what_it_kept,
    of_networks.is_really_smaller,
    of_networks.survives_save_and_load,
    of_networks.asks_for_a_known_finish,
    of_networks.keeps_a_true_diary,
    of_conduct.is_deterministic,
    of_conduct.ends_the_same_after_a_kill,
    of_conduct.heeds_the_convention,
    of_conduct.refuses_the_impossible,
    of_conduct.prune_equals_its_item_in_a_sweep,
    of_conduct.leaves_its_input_untouched,
    of_conduct.leaves_its_options_as_they_were,
    of_conduct.leaves_global_state_alone,
    of_conduct.sees_training_data_only,
)


TASK_CHECKS: tuple[Check, ...] = (
    of_task.is_a_task,
    of_task.builds_every_backbone,
    of_task.its_networks_can_be_pruned,
    of_task.initialises_by_the_generator_alone,
    of_task.crops_have_the_right_shapes,
    of_task.crops_come_from_the_generator_alone,
    of_task.loss_is_differentiable,
    of_task.scores_have_psnr_and_ssim,
    of_task.photographs_stay_the_same,
    of_task.calibration_is_no_test_photograph,
)


def check_method(cls: type[Method], options: Mapping[str, Any] | None = None) -> Iterator[Finding]:
    """What each check finds, as soon as it is made: on a network that takes milliseconds, with a training of a few steps.

    Args:
        cls: the method.
        options: its options where the defaults are meant for large networks.
    """
    evidence = Evidence(cls, options or {})
    for check in METHOD_CHECKS:
        yield look(check, evidence)


def check_task(cls: type[Task], options: Mapping[str, Any] | None = None, data: str = "embedded") -> Iterator[Finding]:
    """What each check finds, as soon as it is made.

    Args:
        cls: the task.
        options: of it, as a study has them.
        data: "embedded", or the folder of its photographs.
    """
    evidence = TaskEvidence(cls, options or {}, data)
    for check in TASK_CHECKS:
        yield look(check, evidence)
