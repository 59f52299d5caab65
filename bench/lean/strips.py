"""Convolutions and max-pooling of concatenated values, computed a strip of rows at a time.

A strip concatenates the rows of the parts that it reads (the concat of all rows is never made),
computes, shuffles pixels if asked to, and is copied into the one output while it is still in the
cache. What the layer needs beside its parts and its output has the size of a strip only: the
concat, the output before PixelShuffle, the second output of a transposed convolution, the indices
of a pooling.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class RowGeometry(NamedTuple):
    """How output rows depend on input rows."""

    kernel: int
    stride: int
    padding: int
    dilation: int

    @property
    def reach(self) -> int:
        """Distance from the first to the last input row of one output row."""
        return self.dilation * (self.kernel - 1)


class StripwiseLayer(nn.Module):
    """The layer on torch.cat(parts, 1), followed by PixelShuffle(shuffle).

    Args:
        layer: a layer for which `strip_obstacle` returns None.
        shuffle: 1 for no shuffling.
        scratch_bytes: approximate size of a strip.
    """

    def __init__(self, layer: nn.Module, scratch_bytes: int, shuffle: int = 1) -> None:
        super().__init__()
        self.layer, self.scratch_bytes, self.shuffle = layer, scratch_bytes, shuffle

    def forward(self, *parts: Tensor) -> Tensor:
        """(N, C_k, H, W) of each part -> (N, C', H', W')."""
        batch, _, height, width = parts[0].shape
        rows_out = _output_rows(self.layer, height)
        strip_rows = self._strip_rows(parts, rows_out, width)
        if strip_rows >= rows_out:
            return self._shuffle_pixels(self.layer(_concat(parts)))
        out: Tensor | None = None
        for sample in range(batch):
            sample_parts = [part[sample : sample + 1] for part in parts]
            for first in range(0, rows_out, strip_rows):
                last = min(first + strip_rows, rows_out)
                strip = self._compute_strip(sample_parts, first, last)
                if out is None:
                    out = _empty_like_strip(strip, batch, rows_out * self.shuffle)
                out[sample : sample + 1, :, first * self.shuffle : last * self.shuffle] = strip
                del strip
        return out  # type: ignore[return-value]

    def _strip_rows(self, parts: tuple[Tensor, ...], rows_out: int, width: int) -> int:
        """Return how many output rows to compute at a time so that buffers fit `scratch_bytes`."""
        channels = sum(part.shape[1] for part in parts)
        # Without out_channels it is a pooling: one result, and indices of twice its size.
        channels_out = getattr(self.layer, "out_channels", 3 * channels)
        rows_in_per_out = parts[0].shape[2] / rows_out
        # Elements of the buffers for one output row.
        concat_row = channels * width * rows_in_per_out if len(parts) > 1 else 0
        outputs = 2 if isinstance(self.layer, nn.ConvTranspose2d) else 1
        result_row = channels_out * width / rows_in_per_out * outputs
        return max(1, int(self.scratch_bytes / parts[0].itemsize / (concat_row + result_row)))

    def _compute_strip(self, parts: list[Tensor], first: int, last: int) -> Tensor:
        """Return output rows first ... last - 1 of one sample, shuffled."""
        layer = self.layer
        geometry = _row_geometry(layer)
        height = parts[0].shape[2]
        if isinstance(layer, nn.ConvTranspose2d):
            low = max(0, -((geometry.reach - first - geometry.padding) // geometry.stride))
            high = min(height, (last - 1 + geometry.padding) // geometry.stride + 1)
            full = F.conv_transpose2d(
                _concat(_cut_rows(parts, low, high)),
                layer.weight,
                layer.bias,
                **_uncropped_arguments(layer),
            )
            begin = first + geometry.padding - low * geometry.stride
            return self._shuffle_pixels(full[:, :, begin : begin + last - first])
        low = first * geometry.stride - geometry.padding
        high = (last - 1) * geometry.stride - geometry.padding + geometry.reach + 1
        x = _concat(_cut_rows(parts, max(0, low), min(height, high)))
        if low < 0 or high > height:
            fill = 0.0 if isinstance(layer, nn.Conv2d) else -torch.inf
            x = F.pad(x, (0, 0, max(0, -low), max(0, high - height)), value=fill)
        return self._shuffle_pixels(_apply_without_row_padding(layer, x))

    def _shuffle_pixels(self, x: Tensor) -> Tensor:
        return F.pixel_shuffle(x, self.shuffle) if self.shuffle > 1 else x


def strip_obstacle(layer: nn.Module) -> str | None:
    """Return why a layer cannot be computed in strips; None if it can."""
    if not isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.MaxPool2d):
        return "only convolutions and max-pooling are computed in strips"
    if getattr(layer, "padding_mode", "zeros") != "zeros":
        return f"padding mode '{layer.padding_mode}' needs a padded copy"
    if isinstance(layer, nn.MaxPool2d):
        is_special = layer.ceil_mode or layer.return_indices
        return "rounds its size up, or returns indices" if is_special else None
    if (
        isinstance(layer.padding, str)
        and layer.padding == "same"
        and any(size % 2 == 0 for size in layer.kernel_size)
    ):
        return "pads more below than above"
    geometry = _row_geometry(layer)
    if isinstance(layer, nn.ConvTranspose2d):
        is_larger = _as_pair(layer.output_padding)[0] > geometry.padding
        return "its result is larger than what its inputs reach" if is_larger else None
    return "pads rows that no input reaches" if geometry.padding > geometry.reach else None


def _apply_without_row_padding(layer: Any, x: Tensor) -> Tensor:
    """Apply a convolution or pooling without padding above and below."""
    padding = (0, _padding(layer)[1])
    if isinstance(layer, nn.Conv2d):
        return F.conv2d(
            x, layer.weight, layer.bias, layer.stride, padding, layer.dilation, layer.groups
        )
    return F.max_pool2d(x, layer.kernel_size, layer.stride, padding, layer.dilation)


def _uncropped_arguments(layer: nn.ConvTranspose2d) -> dict[str, Any]:
    """Return the arguments of a transposed convolution that crops no rows above and below."""
    return {
        "stride": layer.stride,
        "padding": (0, _padding(layer)[1]),
        "output_padding": (0, _as_pair(layer.output_padding)[1]),
        "groups": layer.groups,
        "dilation": layer.dilation,
    }


def _row_geometry(layer: Any) -> RowGeometry:
    return RowGeometry(
        _as_pair(layer.kernel_size)[0],
        _as_pair(layer.stride)[0],
        _padding(layer)[0],
        _as_pair(layer.dilation)[0],
    )


def _output_rows(layer: Any, height: int) -> int:
    geometry = _row_geometry(layer)
    if isinstance(layer, nn.ConvTranspose2d):
        uncropped = (height - 1) * geometry.stride + geometry.reach + 1
        return uncropped - 2 * geometry.padding + _as_pair(layer.output_padding)[0]
    return (height + 2 * geometry.padding - geometry.reach - 1) // geometry.stride + 1


def _padding(layer: Any) -> tuple[int, int]:
    if isinstance(layer.padding, str):
        sizes = [
            dilation * (size - 1) // 2
            for dilation, size in zip(layer.dilation, layer.kernel_size, strict=True)
        ]
        return (sizes[0], sizes[1]) if layer.padding == "same" else (0, 0)
    return _as_pair(layer.padding)


def _as_pair(size: Any) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def _cut_rows(parts: list[Tensor], low: int, high: int) -> list[Tensor]:
    return [part[:, :, low:high] for part in parts]


def _concat(parts: Any) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts, 1)


def _empty_like_strip(strip: Tensor, batch: int, height: int) -> Tensor:
    """Return an empty output (N, C, H, W) with the memory format of a strip (1, C, h, W)."""
    is_channels_last = strip.is_contiguous(memory_format=torch.channels_last)
    is_last_only = is_channels_last and not strip.is_contiguous()
    return torch.empty(
        (batch, strip.shape[1], height, strip.shape[3]),
        dtype=strip.dtype,
        device=strip.device,
        memory_format=torch.channels_last if is_last_only else torch.contiguous_format,
    )
