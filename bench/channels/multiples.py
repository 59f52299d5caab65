"""Channel multiples: slots are tied into blocks, so that every width stays a multiple.

Runtimes pack channels in fours or eights: 13 channels take the memory of 16. With a multiple of m,

    block = max over the values that hold the unit of  m / gcd(m, k)   slots

are tied into one, k being the channels of the value in one slot: the same channel of two groups of
a convolution needs half a block, the r * r channels before a PixelShuffle a whole one for what
comes out of it. What prunes by slots then keeps multiples without knowing of them. A unit whose
width is no multiple keeps it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import gcd, lcm

import numpy as np

from bench.channels.units import STAYS, Layout, Slots

Blocks = dict[str, list[list[int]]]  # unit -> the channels of each of its blocks, sorted


def block_sizes(layout: Layout, multiple: int) -> dict[str, int]:
    """Return unit -> how many of its slots make every value that holds it a multiple wider."""
    names = list(layout.units)
    owner = np.repeat(np.arange(len(names)), list(layout.widths.values()))
    sizes = dict.fromkeys(names, 1)
    for slots in (*layout.values.values(), *layout.makes.values()):
        for index, count in zip(
            *np.unique(owner[slots[slots != STAYS]], return_counts=True), strict=True
        ):
            unit = names[index]
            channels = int(count) // layout.widths[unit]
            sizes[unit] = lcm(sizes[unit], multiple // gcd(multiple, channels))
    return sizes


def tie_slots(
    layout: Layout, multiple: int, order: Mapping[str, Sequence[int]]
) -> tuple[Layout, Blocks]:
    """Return the layout whose slots are blocks, and the channels of the blocks.

    Args:
        layout: of the network.
        multiple: of channels, a power of two.
        order: unit -> its channels; neighbours in this order share a block.
    """
    sizes = block_sizes(layout, multiple)
    fixed = dict(layout.fixed)
    new_slot = np.full(layout.size + 1, STAYS)
    units, blocks = {}, {}
    start = 0
    for name, unit in layout.units.items():
        size = sizes[name]
        if unit.channels % size:
            fixed[name] = f"its {unit.channels} channels are no multiple of {size}"
            continue
        blocks[name] = [
            sorted(order[name][first : first + size]) for first in range(0, unit.channels, size)
        ]
        for index, block in enumerate(blocks[name]):
            new_slot[unit.start + np.array(block)] = start + index
        units[name] = replace(unit, channels=len(blocks[name]), start=start)
        start += len(blocks[name])

    def tie(rows: Mapping[str, Slots]) -> dict[str, Slots]:
        return {name: new_slot[slots] for name, slots in rows.items()}

    tied = replace(
        layout,
        units=units,
        values=tie(layout.values),
        makes=tie(layout.makes),
        reads=tie(layout.reads),
        followers={
            name: (axis, new_slot[slots]) for name, (axis, slots) in layout.followers.items()
        },
        fixed=fixed,
        rewrites=tuple(
            rewrite if rewrite.slots is None else replace(rewrite, slots=new_slot[rewrite.slots])
            for rewrite in layout.rewrites
        ),
    )
    return tied, blocks
