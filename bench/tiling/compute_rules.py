"""What operators that compute read of the image, one function for each kind.

A rule gets the walk, the operator and its arguments by name; it returns the pixels of what the
operator makes.
"""

from fractions import Fraction
from typing import Any

from bench.graph.ir import Op
from bench.tiling.lines import Window, slide, spread
from bench.tiling.pixels import Pixels, Walk

Given = dict[str, Any]
LARGEST_DENOMINATOR = 1000  # of a factor that is given as a float


def pixelwise(walk: Walk, op: Op, given: Given) -> Pixels:
    """Apply the rule of an operator whose pixels depend on the same pixels of its operands."""
    return walk.join(op, op.reads)


def keep_first(walk: Walk, op: Op, given: Given) -> Pixels:
    """Apply the rule of an operator that takes the pixels of its first operand as they are."""
    return walk.pixels[op.reads[0]]


def uniform(walk: Walk, op: Op, given: Given) -> Pixels:
    """Apply the rule of an operator that fills a tensor with one number."""
    return Pixels(is_uniform=True)


def refused(walk: Walk, op: Op, given: Given) -> Pixels:
    """Refuse an operator that has no rule."""
    walk.refuse(f"'{op.name}' has no rule for pixels")


def pair(number: Any) -> tuple[Any, Any]:
    """Return one number for each axis of the image."""
    numbers = tuple(number) if isinstance(number, tuple | list) else (number,)
    return numbers[0], numbers[-1]


def over_last_two(walk: Walk, op: Op, rows: Window, columns: Window) -> Pixels:
    """Read windows along the last two axes."""
    ndim = len(walk.shape(op.reads[0]))
    return walk.slide(op, {ndim - 2: rows, ndim - 1: columns})


def convolve(walk: Walk, op: Op, given: Given) -> Pixels:
    """Apply the rule of a convolution."""
    sizes = given.get("kernel_size") or walk.shape(op.reads[1])[-2:]
    dilations, strides = pair(given.get("dilation", 1)), pair(given.get("stride", 1))
    padding = given.get("padding", 0)
    if padding == "same":  # the odd one lies behind
        reaches = [by * (size - 1) for by, size in zip(dilations, sizes, strict=True)]
        padding = tuple(reach // 2 for reach in reaches)
    paddings = pair(0 if padding == "valid" else padding)
    note_border(walk, op, given.get("padding_mode", "zeros"), {-2: paddings[0], -1: paddings[1]})
    return over_last_two(walk, op, *map(slide, sizes, strides, paddings, dilations))


def convolve_transposed(walk: Walk, op: Op, given: Given) -> Pixels:
    """Apply the rule of a transposed convolution."""
    sizes = given.get("kernel_size") or walk.shape(op.reads[1])[-2:]
    names = {"stride": 1, "padding": 0, "dilation": 1}
    return over_last_two(
        walk,
        op,
        *map(spread, sizes, *(pair(given.get(name, usual)) for name, usual in names.items())),
    )


def pool(walk: Walk, op: Op, given: Given) -> Pixels:
    """Apply the rule of a pooling; without a stride, windows do not overlap."""
    sizes = pair(given["kernel_size"])
    strides = pair(given.get("stride") or sizes)
    others = (pair(given.get("padding", 0)), pair(given.get("dilation", 1)))
    return over_last_two(walk, op, *map(slide, sizes, strides, *others))


def pool_to_size(walk: Walk, op: Op, given: Given, axes: int = 2) -> Pixels:
    """Apply the rule of a pooling of the last axes whose windows grow with the image."""
    return _lose(walk, op, _last(walk, op, axes), "pooling over the image")


def shuffle(walk: Walk, op: Op, given: Given) -> Pixels:
    """Apply the rule of PixelShuffle."""
    window = spread(given["upscale_factor"], given["upscale_factor"], 0)
    return over_last_two(walk, op, window, window)


def unshuffle(walk: Walk, op: Op, given: Given) -> Pixels:
    """Apply the rule of PixelUnshuffle."""
    window = slide(given["downscale_factor"], given["downscale_factor"], 0)
    return over_last_two(walk, op, window, window)


def resample(walk: Walk, op: Op, given: Given) -> Pixels:
    """Apply the rule of an interpolation by a factor, or to a size that the code computes."""
    mode, before, after = (
        given.get("mode", "nearest"),
        walk.shape(op.reads[0]),
        walk.shape(op.makes[0]),
    )
    if given.get("align_corners") or given.get("antialias"):
        walk.refuse(f"'{op.name}' interpolates with align_corners or antialias")
    factors = pair(given.get("scale_factor"))
    if given.get("recompute_scale_factor"):
        factors = (None, None)
    windows = []
    for axis, factor in zip((-2, -1), factors, strict=True):
        per_pixel = (
            Fraction(before[axis], after[axis])
            if factor is None
            else 1 / Fraction(factor).limit_denominator(LARGEST_DENOMINATOR)
        )
        window = _interpolate(mode, per_pixel.numerator, per_pixel.denominator)
        if window is None:
            walk.refuse(f"'{op.name}' interpolates with mode '{mode}' by 1/{per_pixel}")
        windows.append(window)
    return over_last_two(walk, op, *windows)


def _interpolate(mode: str, step: int, per: int) -> Window | None:
    """Return what an interpolation reads that makes `per` pixels out of `step`; None if unknown."""
    if step == per:
        return Window()
    center = step - per  # pixel j lies at (2 step j + center) / 2 per
    return {
        "nearest": Window(step, per),
        "nearest-exact": Window(2 * step, 2 * per, step, step),
        "bilinear": Window(2 * step, 2 * per, center, center + 2 * per - 1),
        "bicubic": Window(2 * step, 2 * per, center - 2 * per, center + 4 * per - 1),
        "area": Window(step, 1, 0, step - 1) if per == 1 else None,
    }.get(mode)


def pad(walk: Walk, op: Op, given: Given, mode: str = "constant") -> Pixels:
    """Apply the rule of a padding: sizes in front and behind, from the last axis on."""
    sizes = given["padding"] if "padding" in given else given["pad"]
    before = {-1 - axis: size for axis, size in enumerate(sizes[::2])}
    mode = given.get("mode", mode)
    deepest = {-1 - axis: max(sizes[2 * axis : 2 * axis + 2]) for axis in range(len(sizes) // 2)}
    note_border(walk, op, mode, deepest)
    ndim = len(walk.shape(op.reads[0]))
    return walk.slide(op, {ndim + axis: Window(1, 1, -by, -by) for axis, by in before.items()})


def note_border(walk: Walk, op: Op, mode: str, sizes: dict[int, int]) -> None:
    """Note what a padding takes from elsewhere in the image.

    `sizes` has the padded pixels of each axis, counted from the end.
    """
    pixels, shape = walk.pixels[op.reads[0]], walk.shape(op.reads[0])
    for axis, size in sizes.items():
        for image_axis in pixels.axes.get(len(shape) + axis, ()):
            if size > 0 and mode == "circular":
                walk.note("padding with the other side of the image")
            elif size > 0 and mode == "reflect":
                line = pixels.lines[image_axis]
                end = walk.shape(walk.graph.inputs[0])[image_axis - 2]
                lost_behind = end - line.ratio * line.clean_to
                lost_before = end - line.ratio * (shape[axis] - line.clean_from)
                least = line.ratio * (size + 1) + max(lost_behind, lost_before)
                walk.least[image_axis] = max(walk.least[image_axis], -int(-least // 1))


def mix_last(walk: Walk, op: Op, given: Given) -> Pixels:
    """Apply the rule of a linear layer on the last axis."""
    if len(walk.shape(op.reads[0])) - 1 in walk.pixels[op.reads[0]].axes:
        walk.refuse(f"'{op.name}' is a linear layer over pixels")
    return walk.pixels[op.reads[0]]


def statistics(walk: Walk, op: Op, given: Given) -> Pixels:
    """Apply the rule of a normalisation by statistics of the image."""
    walk.note("mean and variance over the image")
    return walk.pixels[op.reads[0]]


def layer_norm(walk: Walk, op: Op, given: Given) -> Pixels:
    """Apply the rule of a normalisation over the last axes."""
    normalised = _last(walk, op, len(given["normalized_shape"]))
    if normalised & walk.pixels[op.reads[0]].axes.keys():
        walk.refuse(f"'{op.name}' normalises over pixels, of a fixed number")
    return walk.pixels[op.reads[0]]


def reduce(walk: Walk, op: Op, given: Given) -> Pixels:
    """Apply the rule of a mean, a sum or a maximum over some axes."""
    return _lose(walk, op, _dims(walk, op, given.get("dim")), f"{_verb(op)} over the image")


def extremum(walk: Walk, op: Op, given: Given) -> Pixels:
    """Apply the rule of max and min: of two tensors, or over some axes."""
    return pixelwise(walk, op, given) if len(op.reads) > 1 else reduce(walk, op, given)


def normalise(walk: Walk, op: Op, given: Given) -> Pixels:
    """Apply the rule of softmax and its like, over some axes."""
    pixels = walk.pixels[op.reads[0]]
    if _dims(walk, op, given.get("dim", 1)) & pixels.axes.keys():
        walk.note(f"{_verb(op)} over the image")
    return pixels


def along(walk: Walk, op: Op, given: Given) -> Pixels:
    """Apply the rule of an operator that mixes or moves elements along some axes."""
    dims = given.get("dims", given.get("dim"))
    usual = (-2, -1) if op.rule.channels == "move_last" else None
    if _dims(walk, op, usual if dims is None else dims) & walk.pixels[op.reads[0]].axes.keys():
        walk.refuse(f"'{op.name}' mixes or moves all pixels")
    return walk.pixels[op.reads[0]]


def multiply(walk: Walk, op: Op, given: Given) -> Pixels:
    """Apply the rule of a matrix product."""
    first, second = (walk.pixels[name] for name in op.reads)
    left, right = (len(walk.shape(name)) for name in op.reads)
    if left < 2 or right < 2:
        walk.refuse(f"'{op.name}' multiplies a vector")
    ndim = len(walk.shape(op.makes[0]))
    if left - 1 in first.axes or right - 2 in second.axes:
        walk.note(f"{_verb(op)} over the image")
    if left - 2 in first.axes and right - 1 in second.axes:
        walk.refuse(f"'{op.name}' relates all pixels to all others")
    kept = {axis: axis + ndim - left for axis in range(left - 1)}
    kept_of_second = {axis: axis + ndim - right for axis in range(right) if axis != right - 2}
    one, other = first.moved(kept), second.moved(kept_of_second)
    lines = dict(one.lines)
    for image_axis, line in other.lines.items():
        lines[image_axis] = walk.combine(lines.get(image_axis), line)
    return Pixels({**one.axes, **other.axes}, lines)


def _verb(op: Op) -> str:
    """Return what an operator does: "mean" of "mean_3"."""
    name = op.name.rpartition(".")[2]
    return name.rstrip("0123456789").rstrip("_") or name


def _last(walk: Walk, op: Op, count: int) -> set[int]:
    """Return the last axes of the first operand."""
    ndim = len(walk.shape(op.reads[0]))
    return set(range(ndim - count, ndim))


def _dims(walk: Walk, op: Op, dim: Any) -> set[int]:
    """Return axes of the first operand that a call names; all if it names none."""
    ndim = len(walk.shape(op.reads[0]))
    dims = [dim] if isinstance(dim, int) else dim
    return {axis % ndim for axis in (dims or range(ndim))}


def _lose(walk: Walk, op: Op, dims: set[int], what: str) -> Pixels:
    """Return the pixels of what has lost these axes of its operand, or has 1 or a fixed size."""
    pixels, ndim = walk.pixels[op.reads[0]], len(walk.shape(op.reads[0]))
    if dims & pixels.axes.keys():
        walk.note(what)
    keeps_axes = len(walk.shape(op.makes[0])) == ndim
    return pixels.moved(
        {
            axis: axis if keeps_axes else axis - sum(lost < axis for lost in dims)
            for axis in range(ndim)
            if axis not in dims
        }
    )
