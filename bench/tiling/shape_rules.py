"""What operators that move elements read of the image, one function for each kind."""

from math import prod
from typing import Any

from bench.graph.ir import Op
from bench.tiling.compute_rules import Given
from bench.tiling.lines import Window
from bench.tiling.pixels import Pixels, Walk


def concat(walk: Walk, op: Op, given: Given) -> Pixels:
    """Apply the rule of a concat along an axis without pixels."""
    joined = walk.join(op, op.reads)
    if given.get("dim", 0) % len(walk.shape(op.makes[0])) in joined.axes:
        walk.refuse(f"'{op.name}' joins images side by side")
    return joined


def stack(walk: Walk, op: Op, given: Given) -> Pixels:
    """Apply the rule of a concat along a new axis."""
    ndim = len(walk.shape(op.makes[0]))
    dim = given.get("dim", 0) % ndim
    first = walk.pixels[op.reads[0]]
    lines = dict(first.lines)
    for name in op.reads[1:]:
        if walk.pixels[name].axes != first.axes:
            walk.refuse(f"'{op.name}' stacks values whose pixels lie along different axes")
        for image_axis, line in walk.pixels[name].lines.items():
            lines[image_axis] = walk.combine(lines[image_axis], line)
    moved = first.moved({axis: axis + (axis >= dim) for axis in range(ndim)})
    return Pixels(moved.axes, lines)


def cut(walk: Walk, op: Op, given: Given) -> Pixels:
    """Apply the rule of an operator that cuts an axis without pixels into parts."""
    pixels = walk.pixels[op.reads[0]]
    if given.get("dim", 0) % len(walk.shape(op.reads[0])) in pixels.axes:
        walk.refuse(f"'{op.name}' cuts the image into parts")
    return pixels


def unbind(walk: Walk, op: Op, given: Given) -> Pixels:
    """Apply the rule of an operator that takes an axis without pixels apart."""
    ndim = len(walk.shape(op.reads[0]))
    dim = given.get("dim", 0) % ndim
    return cut(walk, op, given).moved({axis: axis - (axis > dim) for axis in range(ndim)})


def index(walk: Walk, op: Op, given: Given) -> Pixels:
    """Apply the rule of x[slices]: an image may lose pixels counted from its start or its end."""
    moves: dict[int, int] = {}
    windows: dict[int, Window] = {}
    axis = made = 0
    for part in _spell_out(given["index"], len(walk.shape(op.reads[0]))):
        if part is None:
            made += 1
        elif isinstance(part, int):
            windows[axis] = Window(0)
            axis += 1
        else:
            moves[axis] = made
            first = part.start or 0
            windows[axis] = Window(part.step or 1, 1, first, first)
            axis, made = axis + 1, made + 1
    pixels = walk.pixels[op.reads[0]]
    lines = dict(pixels.lines)
    for axis, held in pixels.axes.items():
        window = windows[axis]
        if window.step == 0 or window.first < 0 or (len(held) > 1 and window != Window()):
            walk.refuse(f"'{op.name}' takes pixels by their distance from another border")
        if window != Window() or len(held) == 1:
            length = walk.shape(op.makes[0])[moves[axis]]
            lines[held[0]] = lines[held[0]].read(window, length)
    return Pixels(pixels.axes, lines).moved(moves)


def assign(walk: Walk, op: Op, given: Given) -> Pixels:
    """Apply the rule of x[slices] = y, whose result is x."""
    pixels = walk.pixels[op.reads[0]]
    parts = _spell_out(given["index"], len(walk.shape(op.reads[0])))
    axes = [part for part in parts if part is not None]
    if any(axes[axis] != slice(None) for axis in pixels.axes):
        walk.refuse(f"'{op.name}' writes to a part of the image")
    lines = dict(pixels.lines)
    for name in op.reads[1:]:
        for image_axis, line in walk.pixels[name].lines.items():
            lines[image_axis] = walk.combine(lines.get(image_axis), line)
    return Pixels(pixels.axes, lines)


def _spell_out(index: Any, ndim: int) -> list[Any]:
    """Return an index with a part for each of the `ndim` axes, and None for each new one."""
    parts = list(index) if isinstance(index, tuple) else [index]
    used = sum(part is not None and part is not Ellipsis for part in parts)
    whole = [slice(None)] * (ndim - used)
    position = parts.index(Ellipsis) if Ellipsis in parts else len(parts)
    return parts[:position] + whole + parts[position + 1 :]


def expand(walk: Walk, op: Op, given: Given) -> Pixels:
    """Apply the rule of an expand: a value without pixels is the same at all positions."""
    pixels, shape = walk.pixels[op.reads[0]], walk.shape(op.reads[0])
    if not pixels.axes:
        return Pixels(is_uniform=True)
    more = len(walk.shape(op.makes[0])) - len(shape)
    return pixels.moved({axis: axis + more for axis in range(len(shape))})


def permute(walk: Walk, op: Op, given: Given) -> Pixels:
    """Apply the rule of x.permute."""
    ndim = len(walk.shape(op.reads[0]))
    order = [axis % ndim for axis in given["dims"]]
    return walk.pixels[op.reads[0]].moved({axis: order.index(axis) for axis in range(ndim)})


def transpose(walk: Walk, op: Op, given: Given) -> Pixels:
    """Apply the rule of x.transpose."""
    order = list(range(len(walk.shape(op.reads[0]))))
    first, second = given["dim0"], given["dim1"]
    order[first], order[second] = order[second], order[first]
    return permute(walk, op, {"dims": order})


def transpose_last(walk: Walk, op: Op, given: Given) -> Pixels:
    """Apply the rule of x.t()."""
    return transpose(walk, op, {"dim0": -1, "dim1": -2})


def attribute(walk: Walk, op: Op, given: Given) -> Pixels:
    """Apply the rule of x.T, x.mT, x.real and x.imag."""
    if given["name"] in ("T", "mT"):
        return transpose_last(walk, op, given)
    return walk.pixels[op.reads[0]]


def reshape(walk: Walk, op: Op, given: Given) -> Pixels:
    """Apply the rule of a reshape, which may merge rows and columns into one axis, or part them."""
    before, after = walk.shape(op.reads[0]), walk.shape(op.makes[0])
    pixels = walk.pixels[op.reads[0]]
    axes: dict[int, tuple[int, ...]] = {}
    for old, new in _match(before, after):
        held = [pixels.axes.get(axis, ()) for axis in old]
        if not any(held):
            continue
        image_axes = tuple(image_axis for part in held for image_axis in part)
        sizes = [pixels.lines[image_axis].length for image_axis in image_axes]
        if not all(held) or [after[axis] for axis in new] not in (sizes, [prod(sizes)]):
            walk.refuse(f"'{op.name}' cuts the image into parts, or merges pixels with channels")
        parted = [(image_axis,) for image_axis in image_axes]
        axes |= dict(zip(new, [image_axes] if len(new) == 1 else parted, strict=True))
    return Pixels(axes, pixels.lines)


def _match(before: tuple[int, ...], after: tuple[int, ...]) -> list[tuple[list[int], list[int]]]:
    """Return the axes that a reshape turns into each other: the fewest of equal products.

    Axes of length 1 are left out.
    """
    left = [axis for axis, size in enumerate(before) if size > 1]
    right = [axis for axis, size in enumerate(after) if size > 1]
    groups = []
    while left and right:
        old, new = [left.pop(0)], [right.pop(0)]
        while (elements := prod(before[axis] for axis in old)) != (
            made := prod(after[axis] for axis in new)
        ):
            (old if elements < made else new).append((left if elements < made else right).pop(0))
        groups.append((old, new))
    return groups
