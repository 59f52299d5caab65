"""Checks of a method's class and its options, which do not prune anything."""

import json
from multiprocessing.reduction import ForkingPickler

from bench.plugins.interface import find_method_faults
from bench.plugins.options import configure, option_values
from bench.testing.check_runner import CheckFailed, raise_first_fault, require
from bench.testing.fixtures import RECIPE
from bench.testing.method_runs import MethodEvidence
from bench.testing.option_checks import find_option_faults


def is_a_method(evidence: MethodEvidence) -> None:
    """It is a frozen dataclass derived from Method, with a name and the methods of the contract."""
    raise_first_fault(find_method_faults(evidence.cls))


def cites_its_source(evidence: MethodEvidence) -> None:
    """`paper` names the publication of the method."""
    require(is_a_method, evidence)
    paper = getattr(evidence.cls, "paper", None)
    if not isinstance(paper, str) or not paper.strip():
        raise CheckFailed(
            f"paper is {paper!r}; say where the method comes from: "
            'paper = "Author, Title, Venue Year"'
        )


def options_are_typed(evidence: MethodEvidence) -> None:
    """Every option has a type and a default, and keeps its value in a study file."""
    require(is_a_method, evidence)
    raise_first_fault(find_option_faults(evidence.cls))
    method = evidence.method
    reread = configure(evidence.cls, json.loads(json.dumps(option_values(method))), evidence.name)
    if reread != method:
        raise CheckFailed(
            f"written to a record and read again, the options of {method} are those of {reread}; "
            "use plain numbers, texts and tuples"
        )


def says_how_long_it_trains(evidence: MethodEvidence) -> None:
    """`expected_steps` and `scoring_passes` are whole numbers, at least 0."""
    require(options_are_typed, evidence)
    for function in (evidence.method.expected_steps, evidence.method.scoring_passes):
        count = function(RECIPE)
        if type(count) is not int or count < 0:
            raise CheckFailed(
                f"{function.__name__} gave {count!r}; give their number as an int, at least 0"
            )


def travels_to_a_worker(evidence: MethodEvidence) -> None:
    """Sent to another process, it is the same method with the same options."""
    require(options_are_typed, evidence)
    try:
        # The serialisation of multiprocessing.
        arrived = ForkingPickler.loads(ForkingPickler.dumps(evidence.method))
    except Exception as error:
        raise CheckFailed(
            f"it cannot be sent to a worker: {error}; define the class at the top of a module"
        ) from error
    if arrived != evidence.method:
        raise CheckFailed(
            f"sent as {evidence.method}, it arrives as {arrived}; options must be plain values"
        )
