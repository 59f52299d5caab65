"""Scores of stored networks on photographs that they were neither trained nor tested on."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from bench.contract import Budget
from bench.errors import ConfigError
from bench.export import saved
from bench.export.selection import holds_network, read_record
from bench.files.hashing import digest
from bench.plugins.options import build_task
from bench.records import Record
from bench.runner.run_form import choose_form
from bench.study.store import Store
from bench.training.evaluation import evaluate, input_scores, means


def evaluate_stored(
    folder: Path, data: str, device: str = "cpu", whole: bool = False
) -> Iterator[Record]:
    """Yield the record of each stored network, with scores on other photographs.

    The records have keys of their own, so that they are never taken for those of networks that were
    trained on these photographs.

    Args:
        folder: of a run, or of one saved network with its record.
        data: folder of photographs, or "embedded".
        device: where photographs are restored.
        whole: score all photographs of the folder, not its test sets alone.

    Raises:
        ConfigError: there is no network, or the photographs cannot be used by its task.
    """
    inputs: dict[str, Mapping[str, float]] = {}  # of each task with its options
    for record, network in _find_networks(folder):
        task = build_task(record.cell)
        fingerprint = task.fingerprint(data)
        if fingerprint not in inputs:
            inputs[fingerprint] = means(input_scores(task, data, whole=whole))
        budget = Budget(record.budget_bytes or 0, record.cell.measured_at, record.cell.convention)
        model = saved.load(network)
        restorer = choose_form(model, record.cell, budget).apply(model)
        scores = evaluate(task, restorer, data, device, whole=whole)
        tested = digest([record.cell.data_fingerprint, fingerprint, whole])
        yield replace(
            record,
            cell=replace(record.cell, data=data, data_fingerprint=tested),
            scores=scores,
            means=means(scores),
            input_means=inputs[fingerprint],
        )


def _find_networks(folder: Path) -> list[tuple[Record, Path]]:
    """Return the stored networks with their records."""
    if holds_network(folder):
        record = read_record(folder)
        if record is None:
            raise ConfigError(
                f"{folder} has no record, so its task is not known; give a run, or a network of "
                "prunebench prune"
            )
        return [(record, folder)]
    store = Store(folder)
    found = [(record, path) for record, path in store.networks() if record.status == "done"]
    if not found:
        raise ConfigError(
            f"{folder} holds {len(store.records())} records and no network; give the folder of a "
            "run on this machine, by default results/runs/STUDY"
        )
    return found
