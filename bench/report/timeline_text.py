"""A memory profile as text: one line per time step, the peak marked, and below it what is alive at the peak."""

from collections.abc import Sequence

from bench.memory.profile import MemoryProfile, TimeStep
from bench.units import format_mib, format_shape

BAR_LETTERS = 32
LIVE_LINES = 12


def text(name: str, measured: MemoryProfile, top: int | None = None) -> str:
    """The timeline of a network for a person.

    Args:
        name: of the backbone.
        measured: its profile.
        top: how many of the time steps with the most bytes are shown; all by default.
    """
    peak, steps = measured.peak, _largest(measured.timeline, top)
    left_out = len(measured.timeline) - len(steps)
    note = (
        f", the {len(steps)} of {len(measured.timeline)} time steps with the most bytes"
        if left_out
        else ""
    )
    return "\n".join(
        [
            f"{name} at {format_shape(measured.shape)}, convention {measured.convention}{note}",
            "",
            _table(
                [_line(step, peak) for step in steps],
                ("step", "operator", "alive", ""),
                ("right", "left", "right", "left"),
            ),
            "",
            _table(_alive(peak), ("alive at the peak", "", "share"), ("left", "right", "right")),
            "",
            f"peak        {format_mib(peak.bytes)} ({peak.bytes:,} bytes) at step {peak.step}, {peak.op}",
            f"parameters  {measured.parameters:,}",
            f"MACs        {measured.macs:,}",
        ]
    )


def _largest(timeline: Sequence[TimeStep], top: int | None) -> list[TimeStep]:
    """The steps with the most bytes, in the order of time."""
    largest = sorted(timeline, key=lambda step: -step.bytes)[:top]
    return sorted(largest, key=lambda step: step.step)


def _line(step: TimeStep, peak: TimeStep) -> tuple[object, ...]:
    bar = "#" * round(BAR_LETTERS * step.bytes / peak.bytes)
    return step.step, step.op, format_mib(step.bytes), f"{bar}  <- peak" if step is peak else bar


def _alive(peak: TimeStep) -> list[tuple[str, str, str]]:
    """Name, size and share of each live value, largest first; many small ones as one line."""
    live = sorted(peak.live.items(), key=lambda item: -item[1])
    shown, rest = (
        (live, []) if len(live) <= LIVE_LINES else (live[: LIVE_LINES - 1], live[LIVE_LINES - 1 :])
    )
    if rest:
        shown = [*shown, (f"{len(rest)} smaller ones", sum(size for _, size in rest))]
    return [(value, format_mib(size), f"{size / peak.bytes:.0%}") for value, size in shown]


def _table(lines: Sequence[Sequence[object]], head: Sequence[str], sides: Sequence[str]) -> str:
    from tabulate import tabulate

    return tabulate(lines, head, tablefmt="plain", colalign=sides, disable_numparse=True)
