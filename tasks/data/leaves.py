"""Dead leaves: training images that are made, not photographed.

An image is a pile of opaque shapes, seen from above. With radii drawn from a density proportional
to r**-3, every scale covers the same area, and the edges have the statistics of photographs (Lee,
Mumford, Huang, "Occlusion Models for Natural Images", IJCV 2001). Shapes, textures and depth follow
the idea of VibrantLeaves (arXiv 2504.10201), with colours from random palettes.

    scatter  leaves at random places and depths
    cover    each pixel belongs to the nearest leaf that covers it
    paint    the colour of the leaf, from the palette of its image, + shading + texture
    focus    leaves out of focus are blurred, then the whole image a little

All images of a batch are rendered at once. The same seed gives the same images, but for the
rounding of single pixels on another processor.
"""

import math
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

import torch
from torch import Generator, Tensor
from torch.nn.functional import conv2d

from bench.errors import DiskError
from bench.files import atomic
from bench.files.log import LOG
from bench.files.tensors import tensors_from_bytes, tensors_to_bytes
from tasks.data.decoded_cache import cache_folder
from tasks.data.pairs import Photograph

VERSION = 1  # raise it when the images change
SEED = 0
COUNT = 128  # images for gradient steps
HELD_OUT = 16  # more images, for scoring layers
TOTAL = COUNT + HELD_OUT
BATCH = 16  # images that are rendered at once
SIZE = 256  # height and width of an image
LEAST_RADIUS, GREATEST_RADIUS = 1.5, 160.0
CALMEST = 8.0  # the least radius of an image is drawn up to this one
COVERAGE = 5.0  # mean number of leaves over a pixel
REACH = 1.5  # a leaf stays within this many radii
BOX_PIXELS = 2**22  # pixels that are tested at once
PALETTE = 6  # colours of an image
GREY_SHARE = 0.1  # of the images
FIELDS = 32  # of texture
BLUR = 2.5  # standard deviation of what is far out of focus


def training_leaves(hold_out: bool) -> list[Photograph]:
    """Return the images for gradient steps; without `hold_out`, those for calibration too."""
    return _load()[:COUNT] if hold_out else _load()


def calibration_leaves() -> list[Photograph]:
    """Return the images for scoring layers."""
    return _load()[COUNT:]


@lru_cache(maxsize=1)
def _load() -> list[Photograph]:
    """Load all images from the cache; make them if they are not there."""
    path = cache_folder() / f"leaves-{VERSION}-{COUNT}-{HELD_OUT}.safetensors"
    images = _read(path)
    if images is None:
        LOG.info("making %d training images; the next time they are read from %s", TOTAL, path)
        images = make_leaves(TOTAL, SEED)
        with suppress(DiskError):  # then they are made again
            atomic.write(path, tensors_to_bytes({"images": images}))
    return [Photograph(f"leaves{index}", (image,)) for index, image in enumerate(images)]


def _read(path: Path) -> Tensor | None:
    """Return the stored images; None if there are none, or the file is damaged."""
    try:
        images = tensors_from_bytes(path.read_bytes())["images"]
    except (OSError, ValueError, KeyError):
        return None
    fits = images.dtype == torch.uint8 and images.shape == (TOTAL, 3, SIZE, SIZE)
    return images if fits else None


def make_leaves(count: int, seed: int) -> Tensor:
    """Make images (count, 3, SIZE, SIZE), uint8; an image does not depend on `count`."""
    batches = [
        _render(BATCH, Generator().manual_seed(seed * 2**32 + first))
        for first in range(0, count, BATCH)
    ]
    return torch.cat(batches)[:count]


def _render(count: int, generator: Generator) -> Tensor:
    """Render images (count, 3, SIZE, SIZE), uint8."""
    leaves = _scatter(count, generator)
    image = _paint(leaves, _cover(leaves, count), count, generator)
    return image.clamp_(0, 1).mul_(255).round_().to(torch.uint8)


def _uniform(generator: Generator, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
    return torch.rand(shape, generator=generator).mul_(high - low).add_(low)


def _scatter(count: int, generator: Generator) -> dict[str, Tensor]:
    """Draw the leaves of all images; the k-th leaf of the result hides those before it."""
    radii = torch.logspace(math.log10(LEAST_RADIUS), math.log10(GREATEST_RADIUS), 1000)
    # centres lie in a square that is larger by the leaf, so that large leaves need more draws
    density = radii**-2 * (SIZE + 2 * radii) ** 2  # r**-3 on a logarithmic grid
    density /= density.sum()
    covered = (density * math.pi * radii**2 / (SIZE + 2 * radii) ** 2).sum()
    total = int(COVERAGE / covered) * count
    drawn = torch.rand(total, generator=generator)
    radius = radii[torch.searchsorted(density.cumsum(0), drawn).clamp_(max=len(radii) - 1)]
    image = torch.randint(count, (total,), generator=generator)
    least = LEAST_RADIUS * (CALMEST / LEAST_RADIUS) ** torch.rand(count, generator=generator)
    kept = radius >= least[image]
    image, radius = image[kept], radius[kept]
    image[:count], radius[:count] = torch.arange(count), 2 * SIZE  # the ground
    total = len(image)
    span = SIZE + 2 * radius
    angle = _uniform(generator, total, high=2 * math.pi)
    aspect = _uniform(generator, total, low=-1.0, high=1.0).mul_(0.7).exp2_()
    return {
        "image": image,
        "radius": radius,
        "x": torch.rand(total, generator=generator) * span - radius,
        "y": torch.rand(total, generator=generator) * span - radius,
        "cos": angle.cos() / radius,
        "sin": angle.sin() / radius,
        "aspect": aspect,
        "round": (torch.rand(total, generator=generator) < 0.6).float(),
        "bend": _uniform(generator, total).square_().mul_(0.35),
        "waves": _uniform(generator, total, low=1.0, high=5.0),
        "phase": _uniform(generator, total, high=2 * math.pi),
    }


def _cover(leaves: dict[str, Tensor], count: int) -> Tensor:
    """Return which leaf each pixel shows, (count, SIZE, SIZE)."""
    shown = torch.arange(count).repeat_interleave(SIZE * SIZE)  # the ground
    half = (leaves["radius"] * REACH).ceil().long()
    low = 0
    for high in sorted({min(int(2 ** (k / 2)), 2 * SIZE) for k in range(2, 19)}):
        chosen = ((half > low) & (half <= high)).nonzero().flatten()
        low = high
        side = torch.arange(-high, high + 1)
        for some in chosen.split(max(1, BOX_PIXELS // len(side) ** 2)):
            leaf = {key: value[some, None, None] for key, value in leaves.items()}
            rows = leaf["y"].long() + side[:, None]
            columns = leaf["x"].long() + side
            inside = _is_inside(leaf, columns - leaf["x"], rows - leaf["y"])
            inside &= (rows >= 0) & (rows < SIZE) & (columns >= 0) & (columns < SIZE)
            pixels = (leaf["image"] * SIZE + rows) * SIZE + columns
            values = some[:, None, None].expand_as(pixels)
            shown.scatter_reduce_(0, pixels[inside], values[inside], "amax")
    return shown.view(count, SIZE, SIZE)


def _is_inside(leaf: dict[str, Tensor], dx: Tensor, dy: Tensor) -> Tensor:
    """Return which points belong to a leaf: a bent ellipse or rectangle of any direction."""
    u = (leaf["cos"] * dx + leaf["sin"] * dy) * leaf["aspect"]
    v = (leaf["cos"] * dy - leaf["sin"] * dx) / leaf["aspect"]
    u = u + leaf["bend"] * (leaf["waves"] * v + leaf["phase"]).sin()
    v = v + leaf["bend"] * (leaf["waves"] * u + 2 * leaf["phase"]).sin()
    ellipse = u.square() + v.square()
    rectangle = torch.maximum(u.abs(), v.abs()).square().mul_(math.pi / 2)
    return torch.lerp(rectangle, ellipse, leaf["round"]) < 1


def _paint(leaves: dict[str, Tensor], leaf: Tensor, count: int, generator: Generator) -> Tensor:
    """Paint images (count, 3, SIZE, SIZE)."""
    total = len(leaves["x"])
    palette = _draw_palettes(count, generator)
    index = torch.randint(PALETTE, (total,), generator=generator)
    other = torch.randint(PALETTE, (total,), generator=generator)
    base = palette[leaves["image"], index]
    base = base + 0.05 * torch.randn(total, 3, generator=generator)
    # what a texture adds: mostly light, sometimes the way to another colour
    to_other = palette[leaves["image"], other] - base
    is_coloured = torch.rand(total, 1, generator=generator) < 0.3
    direction = torch.where(is_coloured, to_other, 0.6 * base.mean(1, keepdim=True).expand(-1, 3))
    strength = _uniform(generator, total, 1).pow_(2)
    texture = direction * strength
    stripes = 0.5 * direction * (torch.rand(total, 1, generator=generator) < 0.15)
    shade = 0.25 * base * _uniform(generator, total, 1, low=-1.0)
    frequency = _uniform(generator, total, low=-1.0, high=2.0).mul_(-2.0).exp2_().mul_(math.pi)
    warp = _uniform(generator, total).mul_(3.0)
    field = torch.randint(FIELDS, (total,), generator=generator)
    offset = torch.randint(SIZE, (2, total), generator=generator)
    fields = _draw_fields(generator)

    rows = torch.arange(SIZE)[:, None]
    columns = torch.arange(SIZE)
    dx, dy = columns - leaves["x"][leaf], rows - leaves["y"][leaf]
    u = leaves["cos"][leaf] * dx + leaves["sin"][leaf] * dy
    along = u * leaves["radius"][leaf]
    noise = fields[field[leaf], (rows + offset[0][leaf]) % SIZE, (columns + offset[1][leaf]) % SIZE]
    wave = (frequency[leaf] * along + warp[leaf] * noise).sin_()
    image = (
        base[leaf]
        + texture[leaf] * noise[..., None]
        + stripes[leaf] * wave[..., None]
        + shade[leaf] * u.clamp(-1, 1)[..., None]
    ).permute(0, 3, 1, 2)
    grey = torch.rand(count, 1, 1, 1, generator=generator) < GREY_SHARE
    image = torch.where(grey, image.mean(1, keepdim=True), image)
    return _focus(image, leaf, total, generator)


def _draw_palettes(count: int, generator: Generator) -> Tensor:
    """Draw the colours of images, (count, PALETTE, 3): a hue, how far the others are from it."""
    hue = _uniform(generator, count, 1) + _uniform(generator, count, 1) * (
        _uniform(generator, count, PALETTE) - 0.5
    )
    saturation = _uniform(generator, count, PALETTE) * _uniform(generator, count, 1)
    value = _uniform(generator, count, PALETTE, low=0.02) ** (
        _uniform(generator, count, 1, low=0.5, high=2.0)
    )
    third = torch.tensor([0.0, 1 / 3, 2 / 3])
    wheel = (2 - 6 * ((hue[..., None] + third) % 1 - 0.5).abs()).clamp_(0, 1)
    return value[..., None] * (1 - saturation[..., None] * wheel)


def _draw_fields(generator: Generator) -> Tensor:
    """Draw textures (FIELDS, SIZE, SIZE): noise with a power spectrum f**-a, unit variance."""
    frequencies = torch.fft.fftfreq(SIZE)
    radius = (frequencies[:, None].square() + frequencies.square()).sqrt_()
    radius[0, 0] = math.inf
    exponent = _uniform(generator, FIELDS, 1, 1, low=0.3, high=1.6)
    spectrum = torch.fft.fft2(torch.randn(FIELDS, SIZE, SIZE, generator=generator))
    fields = torch.fft.ifft2(spectrum * radius**-exponent).real
    fields = fields / fields.std((1, 2), keepdim=True)
    return torch.where(torch.arange(FIELDS)[:, None, None] % 3 == 0, (3 * fields).tanh(), fields)


def _focus(image: Tensor, leaf: Tensor, total: int, generator: Generator) -> Tensor:
    """Blur what is out of focus, then all of the image a little."""
    count = len(image)
    depth = (1 - leaf / total) * COVERAGE  # of what is seen, about exponential with mean 1
    at = _uniform(generator, count, 1, 1, high=1.5)
    power = _uniform(generator, count, 1, 1, low=-0.5, high=1.0).clamp_(min=0)
    amount = (power * (depth - at).abs()).clamp_(0, 1)[:, None]
    far = blur(image, torch.full((count,), BLUR))
    mixed = torch.lerp(image, far, amount)
    return blur(mixed, _uniform(generator, count, low=0.3, high=0.9))


def blur(image: Tensor, deviation: Tensor) -> Tensor:
    """Blur images (N, C, H, W) by Gaussians of the standard deviations (N,), in pixels."""
    count, channels, height, width = image.shape
    reach = math.ceil(3 * float(deviation.max()))
    offsets = torch.arange(-reach, reach + 1)
    kernel = (-0.5 * (offsets / deviation[:, None]).square()).exp()
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(channels, 0)
    groups = count * channels
    flat = torch.nn.functional.pad(
        image.reshape(1, groups, height, width), (reach,) * 4, mode="reflect"
    )
    flat = conv2d(flat, kernel[:, None, :, None], groups=groups)
    return conv2d(flat, kernel[:, None, None, :], groups=groups).view_as(image)
