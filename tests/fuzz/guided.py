"""The targets of the suite, guided by coverage, for as long as one likes.

Needs atheris, which is no dependency of the project:

    pip install atheris==3.0.0
    python -m tests.fuzz.guided [-runs=2000] [-max_total_time=60] [TARGET ...]        all targets, one after the other, by default

Words with a dash are libFuzzer's. A finding ends its target with a traceback, and libFuzzer writes
its input into results/runs/fuzz; each target is a process of its own. The last line of a target
says its cases, seconds and coverage counters.
"""

import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

PACKAGES = ["bench", "tasks", "tomllib", "json", "PIL"]
RUNS = "-runs=2000"
ARTEFACTS = Path("results") / "runs" / "fuzz"
SEEDS, SEED_BYTES = 64, 2048  # random ones: from shorter input nothing whole can be built


def guided(name: str, flags: Sequence[str]) -> None:
    """Runs one target; does not come back."""
    import atheris

    with atheris.instrument_imports(include=PACKAGES):
        from tests.fuzz.targets import TARGETS
    atheris.Setup(
        [sys.argv[0], *flags, "-max_len=4096", "-len_control=0"],
        TARGETS[name].hypothesis.fuzz_one_input,
    )  # type: ignore[attr-defined]
    atheris.Fuzz()


def figures(printed: str, seconds: float) -> str:
    """Cases, seconds and coverage counters, as libFuzzer says them."""
    cases, covered = (re.findall(pattern, printed) for pattern in (r"#(\d+)\s", r"cov: (\d+)"))
    return f"{cases[-1] if cases else 0} cases, {seconds:.0f} s, {covered[-1] if covered else 0} counters"


def main(words: Sequence[str]) -> int:
    """Every target in a process of its own; 1 if one of them found something."""
    flags, names, found = (
        [word for word in words if word.startswith("-")],
        [word for word in words if not word.startswith("-")],
        False,
    )
    if names[:1] == ["in"]:
        guided(names[1], [*flags, *names[2:]])
    if not names:
        from tests.fuzz.targets import TARGETS

        names = list(TARGETS)
    ARTEFACTS.mkdir(parents=True, exist_ok=True)
    for name in names:
        started = time.monotonic()
        with TemporaryDirectory() as seeds:
            for place in range(SEEDS):
                Path(seeds, str(place)).write_bytes(Random(place).randbytes(SEED_BYTES))
            ours = [RUNS, "-seed=1", f"-artifact_prefix={ARTEFACTS}/"]
            command = [sys.executable, "-m", "tests.fuzz.guided", "in", name, *ours, *flags, seeds]
            done = subprocess.run(command, capture_output=True, text=True, errors="replace")
        if done.returncode:
            found = True
            print(done.stdout[-6000:], done.stderr[-6000:])
        print(
            f"{name:<16} {figures(done.stderr, time.monotonic() - started)}{', A FINDING' if done.returncode else ''}",
            flush=True,
        )
    return int(found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
