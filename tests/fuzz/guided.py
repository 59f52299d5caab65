"""Run the fuzz targets of the suite guided by coverage, for as long as you like.

Needs atheris, which is not a dependency of the project:

    pip install atheris==3.0.0
    python -m tests.fuzz.guided [-runs=2000] [-max_total_time=60] [TARGET ...]

By default, all targets run one after the other, each in a process of its own. Arguments with a dash
are those of libFuzzer. A finding ends its target with a traceback, and libFuzzer writes the input
into results/runs/fuzz. The last line of a target has its cases, seconds and coverage counters.
"""

import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

PACKAGES = ["bench", "tasks", "tomllib", "json", "PIL"]
RUNS = "-runs=2000"
ARTEFACTS = Path("results") / "runs" / "fuzz"
SEEDS, SEED_BYTES = 64, 2048  # random inputs; shorter ones are too short to build a value from


def fuzz_target(name: str, flags: Sequence[str]) -> None:
    """Run one target; never returns."""
    import atheris

    with atheris.instrument_imports(include=PACKAGES):
        from tests.fuzz.targets import TARGETS
    target: Any = TARGETS[name]
    arguments = [sys.argv[0], *flags, "-max_len=4096", "-len_control=0"]
    atheris.Setup(arguments, target.hypothesis.fuzz_one_input)
    atheris.Fuzz()


def summarize(printed: str, seconds: float) -> str:
    """Return the cases, seconds and coverage counters that libFuzzer printed, as one line."""
    cases, counters = (re.findall(pattern, printed) for pattern in (r"#(\d+)\s", r"cov: (\d+)"))
    last_case = cases[-1] if cases else 0
    last_counter = counters[-1] if counters else 0
    return f"{last_case} cases, {seconds:.0f} s, {last_counter} counters"


def main(words: Sequence[str]) -> int:
    """Run every target in a process of its own; return 1 if one of them found something."""
    flags = [word for word in words if word.startswith("-")]
    names = [word for word in words if not word.startswith("-")]
    has_finding = False
    if names[:1] == ["in"]:
        fuzz_target(names[1], [*flags, *names[2:]])
    if not names:
        from tests.fuzz.targets import TARGETS

        names = list(TARGETS)
    ARTEFACTS.mkdir(parents=True, exist_ok=True)
    for name in names:
        started = time.monotonic()
        with TemporaryDirectory() as seeds:
            for index in range(SEEDS):
                Path(seeds, str(index)).write_bytes(Random(index).randbytes(SEED_BYTES))
            defaults = [RUNS, "-seed=1", f"-artifact_prefix={ARTEFACTS}/"]
            command = [sys.executable, "-m", "tests.fuzz.guided", "in", name]
            done = subprocess.run(
                [*command, *defaults, *flags, seeds],
                capture_output=True,
                text=True,
                errors="replace",
            )
        if done.returncode:
            has_finding = True
            print(done.stdout[-6000:], done.stderr[-6000:])
        summary = summarize(done.stderr, time.monotonic() - started)
        print(f"{name:<16} {summary}{', A FINDING' if done.returncode else ''}", flush=True)
    return int(has_finding)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
