"""A memory profile as text: one line per time step, and the live values at the peak."""

from collections.abc import Sequence

from bench.memory.least_peak import LeastPeak
from bench.memory.timeline import MemoryProfile, TimeStep
from bench.report.columns import format_columns
from bench.units import format_mib, format_shape

BAR_WIDTH = 32  # characters
MAX_LIVE_LINES = 12
AT_LEAST = "its units keep one channel each"


def format_timeline(
    name: str, profile: MemoryProfile, top: int | None = None, as_run: str = ""
) -> str:
    """Format the timeline of a network, with a mark at its peak.

    Args:
        name: of the backbone.
        profile: of the network.
        top: number of time steps that are shown, those with the most bytes; by default all.
        as_run: the peak of the network as it is written, as text; without it, it is not told.
    """
    peak = profile.peak
    steps = _select_largest(profile.timeline, top)
    total = len(profile.timeline)
    note = (
        f", the {len(steps)} of {total} time steps with the most bytes"
        if len(steps) < total
        else ""
    )
    return "\n".join(
        [
            f"{name} at {format_shape(profile.shape)}, convention {profile.convention}{note}",
            "",
            format_columns(
                [_format_step(step, peak) for step in steps],
                ("step", "operator", "alive", ""),
                ("right", "left", "right", "left"),
            ),
            "",
            format_columns(
                _list_live_values(peak),
                ("alive at the peak", "", "share"),
                ("left", "right", "right"),
            ),
            "",
            f"peak        {format_mib(peak.bytes)} ({peak.bytes:,} bytes) "
            f"at step {peak.step}, {peak.op}",
            *([f"as run      {as_run}"] if as_run else []),
            f"parameters  {profile.parameters:,}",
            f"MACs        {profile.macs:,}",
        ]
    )


def format_least_peak(least: LeastPeak) -> str:
    """Format what is alive at the least peak of a network, and why it is not less."""
    live = sorted(least.alive.items(), key=lambda item: -item[1])[:MAX_LIVE_LINES]
    share = least.bytes / least.unpruned_bytes
    return "\n".join(
        [
            f"least peak  {format_mib(least.bytes)}, {share:.0%} of the unpruned one, "
            f"at {least.step}, if every unit keeps one channel",
            "",
            format_columns(
                [
                    (name, format_mib(size), least.reasons.get(name, AT_LEAST))
                    for name, size in live
                ],
                ("alive at the least peak", "", "why it is not less"),
                ("left", "right", "left"),
            ),
        ]
    )


def _select_largest(timeline: Sequence[TimeStep], top: int | None) -> list[TimeStep]:
    """Return the steps with the most bytes, in the order of time."""
    largest = sorted(timeline, key=lambda step: -step.bytes)[:top]
    return sorted(largest, key=lambda step: step.step)


def _format_step(step: TimeStep, peak: TimeStep) -> tuple[object, ...]:
    bar = "#" * round(BAR_WIDTH * step.bytes / peak.bytes)
    return step.step, step.op, format_mib(step.bytes), f"{bar}  <- peak" if step is peak else bar


def _list_live_values(peak: TimeStep) -> list[tuple[str, str, str]]:
    """Return name, size and share of each live value, largest first.

    If there are many, the smallest are summed up in one line.
    """
    live = sorted(peak.live.items(), key=lambda item: -item[1])
    if len(live) > MAX_LIVE_LINES:
        rest = live[MAX_LIVE_LINES - 1 :]
        summed = (f"{len(rest)} smaller ones", sum(size for _, size in rest))
        live = [*live[: MAX_LIVE_LINES - 1], summed]
    return [(name, format_mib(size), f"{size / peak.bytes:.0%}") for name, size in live]
