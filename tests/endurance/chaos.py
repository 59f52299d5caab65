"""A study that is killed with SIGKILL at random moments and begun again each time ends as one that was left alone.

    python -m tests.endurance.chaos --kills 100 --out /tmp/chaos        results/reference/endurance/chaos.md is what it printed

The study (by default `smoke`) is run once undisturbed. Then it is run in new folders, over two
processes, and killed after a random time: its whole process group, or the driver alone, until there
were enough kills. At the end of each folder every record must have the same figures to the last
bit, but seconds, and every network the same bytes; and no record that was stored before a kill may
have been written again.
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

from bench.study.store import Store

KILLS_OF_A_FOLDER = 20


def answers(folder: Path) -> dict[str, Any]:
    """Key -> all that a run has found out, but how long it took: the record, and the hash of its network."""
    found = {}
    for record in Store(folder).records():
        content = record.to_json()
        del content["seconds"]
        weights = Store(folder).model_folder(record.key) / "weights.safetensors"
        found[record.key] = content, hashlib.sha256(weights.read_bytes()).hexdigest()
    return found


def identities(folder: Path) -> dict[str, tuple[int, int]]:
    """Key -> which file its record is: another one each time it is written."""
    files = {path.stem: path.stat() for path in (folder / "records").glob("*.json")}
    return {key: (file.st_ino, file.st_mtime_ns) for key, file in files.items()}


class Killed:
    """A run that is begun again and again.

    Args:
        command: of the run; folder: of its results. draws: decide when it is killed, and how.
        least_seconds, most_seconds: of an attempt.
    """

    def __init__(
        self,
        command: list[str],
        folder: Path,
        draws: random.Random,
        least_seconds: float,
        most_seconds: float,
    ) -> None:
        self.command, self.folder, self.draws, self.between = (
            command,
            folder,
            draws,
            (least_seconds, most_seconds),
        )
        self.kills, self.stored, self.rewritten = Counter[str](), dict[str, tuple[int, int]](), 0

    def attempt(self, kill: bool) -> bool:
        """One run; whether it came to its end."""
        with (self.folder.parent / f"{self.folder.name}.log").open("ab") as log:
            run = subprocess.Popen(self.command, stdout=log, stderr=log, start_new_session=True)
            try:
                code = run.wait(self.draws.uniform(*self.between) if kill else None)
            except subprocess.TimeoutExpired:
                whom = self.draws.choice(["group", "driver"])
                self.kills[whom] += 1
                (os.killpg if whom == "group" else os.kill)(run.pid, signal.SIGKILL)
                run.wait()
                code = None
        self._look()
        if code not in (None, 0):
            raise SystemExit(f"the run ended with exit code {code}; see {log.name}")
        return code == 0

    def _look(self) -> None:
        """Whether what was stored before is what is there now."""
        now = identities(self.folder)
        self.rewritten += sum(now.get(key) != identity for key, identity in self.stored.items())
        self.stored = now


def main() -> None:
    """Runs it all and prints what came of it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--study", default="smoke")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    if asked.out.exists():
        parser.error(f"{asked.out} is there already; give a new folder")
    asked.out.mkdir(parents=True)

    def command(folder: Path) -> list[str]:
        words = [
            "run",
            asked.study,
            "--out",
            str(folder),
            "--no-mlflow",
            "--workers",
            "2",
            "--checkpoint-every",
            "2s",
        ]
        return [sys.executable, "-m", "bench.cli.main", *words]

    begun = time.monotonic()
    undisturbed = Killed(
        command(asked.out / "undisturbed"), asked.out / "undisturbed", random.Random(0), 0, 0
    )
    undisturbed.attempt(kill=False)
    whole_seconds, wanted = time.monotonic() - begun, answers(asked.out / "undisturbed")
    print(f"undisturbed: {len(wanted)} cells in {whole_seconds:.0f} s", flush=True)
    total, equal, rewritten, folders, draws = Counter[str](), 0, 0, 0, random.Random(asked.seed)
    while sum(total.values()) < asked.kills:
        folder = asked.out / f"killed{folders}"
        run = Killed(command(folder), folder, draws, 4.0, 4.0 + whole_seconds / 6)
        most = min(KILLS_OF_A_FOLDER, asked.kills - sum(total.values()))
        ended = False
        while not ended:
            ended = run.attempt(kill=sum(run.kills.values()) < most)
        total, rewritten, folders = total + run.kills, rewritten + run.rewritten, folders + 1
        same = answers(folder) == wanted
        equal += same
        print(
            f"{folder.name}: {dict(run.kills)} kills, {run.rewritten} records written twice, {'equal' if same else 'NOT EQUAL'}",
            flush=True,
        )
    print(f"{sum(total.values())} kills ({dict(total)}) in {folders} folders: {equal} equal, {rewritten} records written twice, "
          f"{(time.monotonic() - begun) / 60:.0f} min")  # fmt: skip
    sys.exit(equal != folders or rewritten > 0)


if __name__ == "__main__":
    main()
