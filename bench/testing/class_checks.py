"""Checks of a method's class and its options: none of them prunes anything."""

import json
from multiprocessing.reduction import ForkingPickler

from bench.plugins.interface import faults_of_method
from bench.plugins.options import configured, plain
from bench.testing.check_runner import Broken, needs
from bench.testing.fixtures import RECIPE
from bench.testing.method_runs import Evidence
from bench.testing.option_checks import faults_of_options


def is_a_method(evidence: Evidence) -> None:
    """It is a frozen dataclass below Method, has a name, and its functions can be called as the harness calls them."""
    for fault in faults_of_method(evidence.cls):
        raise Broken(fault)


def cites_its_source(evidence: Evidence) -> None:
    """`paper` says where the method comes from."""
    needs(is_a_method, evidence)
    paper = getattr(evidence.cls, "paper", None)
    if not isinstance(paper, str) or not paper.strip():
        raise Broken(
            f'paper is {paper!r}; say where the method comes from: paper = "Author, Title, Venue Year"'
        )


def options_are_typed(evidence: Evidence) -> None:
    """Every option has a type and a default, and comes back from a study file as it was."""
    needs(is_a_method, evidence)
    for fault in faults_of_options(evidence.cls):
        raise Broken(fault)
    method = evidence.method
    back = configured(evidence.cls, json.loads(json.dumps(plain(method))), evidence.name)
    if back != method:
        raise Broken(
            f"written to a record and read again, the options of {method} are those of {back}; use plain numbers, texts and tuples"
        )


def says_how_long_it_trains(evidence: Evidence) -> None:
    """`expected_steps` is a whole number, at least 0."""
    needs(options_are_typed, evidence)
    steps = evidence.method.expected_steps(RECIPE)
    if type(steps) is not int or steps < 0:
        raise Broken(
            f"expected_steps gave {steps!r}; give training steps as an int that is at least 0"
        )


def travels_to_a_worker(evidence: Evidence) -> None:
    """Sent to another process, it is the same method with the same options."""
    needs(options_are_typed, evidence)
    try:
        arrived = ForkingPickler.loads(
            ForkingPickler.dumps(evidence.method)
        )  # what multiprocessing sends
    except Exception as error:
        raise Broken(
            f"it cannot be sent to a worker: {error}; define the class at the top of a module"
        ) from error
    if arrived != evidence.method:
        raise Broken(
            f"sent as {evidence.method}, it arrives as {arrived}; options must be plain values"
        )
