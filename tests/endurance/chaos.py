"""Kill a study with SIGKILL at random moments, and compare its results with an undisturbed run.

    python -m tests.endurance.chaos --kills 100 --out /tmp/chaos

Its output is stored in results/reference/endurance/chaos.md. The study (by default `smoke`) is run
once undisturbed. Then it is run in new folders, with two worker processes, and killed after a
random time (its whole process group, or the driver alone) and started again, until there were
enough kills. At the end, every record of a folder must have the same numbers to the last bit
(except seconds), and every network the same bytes; no record that was stored before a kill may have
been written again; and MLflow must have each record once.
"""

import argparse
import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from bench.report.mlflow_runs import EXPERIMENT, TAG_KEY
from bench.report.mlflow_state import sqlite_uri
from bench.study.store import Store

KILLS_PER_FOLDER = 20


def read_results(folder: Path) -> dict[str, Any]:
    """Return key -> (record without its seconds, hash of its network) of a run folder."""
    results = {}
    for record in Store(folder).records():
        content = record.to_json()
        for name in ("seconds", "image_seconds", "unpruned_image_seconds"):
            del content[name]
        weights = Store(folder).model_folder(record.key) / "weights.safetensors"
        results[record.key] = content, hashlib.sha256(weights.read_bytes()).hexdigest()
    return results


def read_copied_keys(folder: Path) -> list[str]:
    """Return the key of every record that MLflow has of a run folder, sorted."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=mlflow_uri(folder))
    (experiment,) = [each for each in client.search_experiments() if each.name == EXPERIMENT]
    runs = client.search_runs([experiment.experiment_id], max_results=1000)
    return sorted(run.data.tags[TAG_KEY] for run in runs if TAG_KEY in run.data.tags)


def mlflow_uri(folder: Path) -> str:
    """Return the database that MLflow has for one run folder."""
    return sqlite_uri(folder.with_suffix(".db").resolve())


def record_identities(folder: Path) -> dict[str, tuple[int, int]]:
    """Return key -> identity of its record's file, which changes whenever it is written."""
    files = {path.stem: path.stat() for path in (folder / "records").glob("*.json")}
    return {key: (file.st_ino, file.st_mtime_ns) for key, file in files.items()}


class KilledRun:
    """A run that is killed and started again.

    Args:
        command: command of the run.
        folder: folder of its results.
        draws: decide when the run is killed, and how.
        min_seconds: least time before a kill.
        max_seconds: greatest time before a kill.
    """

    def __init__(
        self,
        command: list[str],
        folder: Path,
        draws: random.Random,
        min_seconds: float,
        max_seconds: float,
    ) -> None:
        self.command = command
        self.folder = folder
        self.draws = draws
        self.seconds_range = (min_seconds, max_seconds)
        self.kills = Counter[str]()
        self.stored: dict[str, tuple[int, int]] = {}
        self.rewritten = 0

    def attempt(self, kill: bool) -> bool:
        """Start the run, and kill it after a random time if asked; return whether it finished."""
        with (self.folder.parent / f"{self.folder.name}.log").open("ab") as log:
            environment = os.environ | {"MLFLOW_TRACKING_URI": mlflow_uri(self.folder)}
            run = subprocess.Popen(
                self.command, stdout=log, stderr=log, start_new_session=True, env=environment
            )
            try:
                code = run.wait(self.draws.uniform(*self.seconds_range) if kill else None)
            except subprocess.TimeoutExpired:
                target = self.draws.choice(["group", "driver"])
                self.kills[target] += 1
                (os.killpg if target == "group" else os.kill)(run.pid, signal.SIGKILL)
                run.wait()
                code = None
        self._check_records()
        if code not in (None, 0):
            raise SystemExit(f"the run ended with exit code {code}; see {log.name}")
        return code == 0

    def _check_records(self) -> None:
        """Count the stored records that were written again since the last attempt."""
        current = record_identities(self.folder)
        self.rewritten += sum(current.get(key) != identity for key, identity in self.stored.items())
        self.stored = current


def main() -> None:
    """Run the study undisturbed and with kills, and print how the results compare."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--study", default="smoke")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    if arguments.out.exists():
        parser.error(f"{arguments.out} exists already; give a new folder")
    arguments.out.mkdir(parents=True)

    def command(folder: Path) -> list[str]:
        words = ["run", arguments.study, "--out", str(folder)]
        words += ["--workers", "2", "--checkpoint-every", "2s"]
        return [sys.executable, "-m", "bench.cli.main", *words]

    start = time.monotonic()
    folder = arguments.out / "undisturbed"
    KilledRun(command(folder), folder, random.Random(0), 0, 0).attempt(kill=False)
    run_seconds = time.monotonic() - start
    expected = read_results(folder)
    print(f"undisturbed: {len(expected)} cells in {run_seconds:.0f} s", flush=True)
    draws = random.Random(arguments.seed)
    kills = Counter[str]()
    folders = equal = rewritten = 0
    while sum(kills.values()) < arguments.kills:
        folder = arguments.out / f"killed{folders}"
        run = KilledRun(command(folder), folder, draws, 4.0, 4.0 + run_seconds / 6)
        most = min(KILLS_PER_FOLDER, arguments.kills - sum(kills.values()))
        while not run.attempt(kill=sum(run.kills.values()) < most):
            pass
        kills += run.kills
        rewritten += run.rewritten
        folders += 1
        is_equal = read_results(folder) == expected
        is_equal &= read_copied_keys(folder) == sorted(expected)
        equal += is_equal
        print(
            f"{folder.name}: {dict(run.kills)} kills, {run.rewritten} records written twice, "
            f"{'equal' if is_equal else 'NOT EQUAL'}",
            flush=True,
        )
    print(
        f"{sum(kills.values())} kills ({dict(kills)}) in {folders} folders: {equal} equal, "
        f"{rewritten} records written twice, {(time.monotonic() - start) / 60:.0f} min"
    )
    sys.exit(equal != folders or rewritten > 0)


if __name__ == "__main__":
    main()
