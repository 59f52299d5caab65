"""Time the harness beside what it is made of, and write the ratios.

    python -m tests.performance.run --out results/reference/performance/performance.md

Times are seconds of CPU, those of child processes included, on one thread. The two calls of a case
run in turn, after one run of each that does not count. None of it passes or fails: a busy machine
is slow, which a ratio forgives and a limit does not.
"""

import argparse
import resource
from collections.abc import Iterable
from pathlib import Path
from statistics import median

import torch

from bench.runner.environment import describe_environment
from tests.performance.cases import TINY, Call, Case, Size, all_cases

HEADER = (
    "| measure | ms | least to most | of the other | ratio | least to most |",
    "| --- | ---: | ---: | ---: | ---: | ---: |",
)


def cpu_seconds() -> float:
    """Return the CPU time of this process and of its children that have ended."""
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def time_call(call: Call) -> float:
    start = cpu_seconds()
    call()
    return cpu_seconds() - start


def measure(case: Case, repetitions: int) -> str:
    """Run the calls of a case in turn, and return its row of the table."""
    calls = [call for call in (case.ours, case.other) if call]
    if not case.once:
        for call in calls:
            call()
    rounds = [[time_call(call) for call in calls] for _ in range(1 if case.once else repetitions)]
    milliseconds = [
        [1000 * time / case.parts for time in times] for times in zip(*rounds, strict=True)
    ]
    cells = [case.name, *describe(milliseconds[0])]
    if case.other:
        ratios = [ours / max(other, 1e-9) for ours, other in rounds]
        cells += [describe(milliseconds[1])[0], *describe(ratios)]
    return f"| {' | '.join([*cells, '', '', ''][:6])} |"


def describe(values: Iterable[float]) -> tuple[str, str]:
    """Return the median, and the range where there are several values."""
    listed = list(values)
    spread = f"{min(listed):.3g} to {max(listed):.3g}" if len(listed) > 1 else "once"
    return f"{median(listed):.3g}", spread


def run_all(size: Size, repetitions: int) -> list[str]:
    """Time all cases, print a row for each, and return the lines of the report."""
    torch.set_num_threads(1)
    rows = []
    for case in all_cases(size):
        rows.append(measure(case, repetitions))
        print(rows[-1], flush=True)
    environment = describe_environment("cpu")
    versions = ", ".join(f"{name} {text}" for name, text in environment["versions"].items())
    machine = f"{environment['device']}, {environment['threads']} thread, {environment['platform']}"
    about = f"Median CPU time of {repetitions} repetitions on {machine}; {versions}."
    return [about, "", *HEADER, *rows]


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description="time the harness beside what it is made of")
    parser.add_argument(
        "--tiny", action="store_true", help="see whether it runs; times mean nothing"
    )
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--out", type=Path, help="write the table to this Markdown file")
    arguments = parser.parse_args()
    lines = run_all(TINY if arguments.tiny else Size(), arguments.repetitions)
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        text = "\n".join(lines)
        arguments.out.write_text(f"# Performance\n\n    make benchmark\n\n{text}\n")


if __name__ == "__main__":
    main()
