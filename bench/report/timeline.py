"""A memory profile as text: one line per time step, the peak marked, and what is alive at it."""

from bench.memory.profile import MemoryProfile
from bench.units import format_mib, format_shape

BAR_LETTERS = 32


def text(name: str, measured: MemoryProfile) -> str:
    """The timeline of a network for a person.

    Args:
        name: of the backbone.
        measured: its profile.
    """
    from tabulate import tabulate

    peak = measured.peak
    lines = [
        (row.step, row.op, format_mib(row.bytes), "#" * round(BAR_LETTERS * row.bytes / peak.bytes) + ("  <- peak" if row is peak else ""))
        for row in measured.timeline
    ]
    live = ", ".join(f"{value} {format_mib(size)}" for value, size in sorted(peak.live.items(), key=lambda item: -item[1]))
    return "\n".join(
        [
            f"{name} at {format_shape(measured.shape)}, convention {measured.convention}",
            "",
            tabulate(lines, ("step", "operator", "alive", ""), tablefmt="plain", colalign=("right", "left", "right", "left")),
            "",
            f"peak        {format_mib(peak.bytes)} ({peak.bytes:,} bytes) in {peak.op}",
            f"alive there {live}",
            f"parameters  {measured.parameters:,}",
            f"MACs        {measured.macs:,}",
        ]
    )
