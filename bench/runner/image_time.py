"""Seconds that an image takes on the machine at hand, beside those of the unpruned network.

One protocol for every row: the row's network, as the row runs it, and the unpruned network run in
turn, one untimed and PASSES timed passes each, in channels_last and without gradients; the median
counts. So that a cell takes a second, a pass is on a part of the image, or of a tile, of at most
TIMED_PIXELS pixels, and its time is scaled by the MACs of the whole image, in which tiles count
what they compute twice.
"""

from copy import deepcopy
from math import prod

from torch import nn

from bench.contract import Shape
from bench.memory.measured import seconds_in_turn
from bench.memory.profile import count_macs
from bench.runner.job_context import JobContext
from bench.runner.run_form import RunForm

TIMED_PIXELS = 2**17
PASSES = 5


def time_image(form: RunForm, model: nn.Module, macs: int, context: JobContext) -> dict[str, float]:
    """Return the seconds for one image as fields of the Record.

    Args:
        form: in which the network runs.
        model: the network, in float32.
        macs: of one image in this form.
        context: has the unpruned network, the sizes that networks accept, and the device.
    """
    unpruned = deepcopy(context.model)
    whole, part = (
        choose_part(shape, context.task.size_multiple) for shape in (form.shape, form.largest_input)
    )
    seconds, unpruned_seconds = seconds_in_turn(
        [(form.cast(model), part), (unpruned, whole)], context.device, PASSES
    )
    unpruned_parts = count_macs(unpruned, form.shape) / count_macs(unpruned, whole)
    return {
        "image_seconds": seconds * macs / count_macs(model, part),
        "unpruned_image_seconds": unpruned_seconds * unpruned_parts,
    }


def choose_part(shape: Shape, multiple: int) -> Shape:
    """Return a shape of at most TIMED_PIXELS pixels if possible, by halving the longer side.

    Halved sides are multiples of what the task wants, so that its networks accept them.
    """
    batch, channels, *sides = shape
    while prod(sides) > TIMED_PIXELS and max(sides) >= 2 * multiple:
        longer = sides.index(max(sides))
        sides[longer] = sides[longer] // 2 // multiple * multiple
    return batch, channels, sides[0], sides[1]
