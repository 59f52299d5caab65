"""A convolution, transposed convolution or max-pooling of joined values, a strip of rows at a time, written where the result belongs.

A strip joins what it reads of the parts (the concat of all rows is never made), computes, shuffles
pixels if asked to, and is copied into the one output while it is still in the cache. What the
operator needs beside its parts and its output is a strip: the concat, the output before
PixelShuffle, the second output of a transposed convolution and the indices of a pooling all have
the size of a strip only.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Rows(NamedTuple):
    """How output rows depend on input rows."""

    kernel: int
    stride: int
    padding: int
    dilation: int

    @property
    def reach(self) -> int:
        """From the first to the last input row of one output row."""
        return self.dilation * (self.kernel - 1)


class InStrips(nn.Module):
    """The layer on torch.cat(parts, 1), followed by PixelShuffle(shuffle).

    Args:
        layer: a layer for which `why_not_in_strips` knows no reason.
        shuffle: 1 for no shuffling.
        scratch_bytes: about the size of a strip.
    """

    def __init__(self, layer: nn.Module, scratch_bytes: int, shuffle: int = 1) -> None:
        super().__init__()
        self.layer, self.scratch_bytes, self.shuffle = layer, scratch_bytes, shuffle

    def forward(self, *parts: Tensor) -> Tensor:
        """(N, C_k, H, W) of each part -> (N, C', H', W')."""
        batch, _, height, width = parts[0].shape
        rows_out = _rows_out(self.layer, height)
        rows = self._rows_of_a_strip(parts, rows_out, width)
        if rows >= rows_out:
            return self._shuffled(self.layer(_joined(parts)))
        out: Tensor | None = None
        for sample in range(batch):
            of_sample = [part[sample : sample + 1] for part in parts]
            for first in range(0, rows_out, rows):
                last = min(first + rows, rows_out)
                strip = self._strip(of_sample, first, last)
                if out is None:
                    out = _empty_like_strip(strip, batch, rows_out * self.shuffle)
                out[sample : sample + 1, :, first * self.shuffle : last * self.shuffle] = strip
                del strip
        return out  # type: ignore[return-value]

    def _rows_of_a_strip(self, parts: tuple[Tensor, ...], rows_out: int, width: int) -> int:
        """Output rows whose joined inputs and results, of one sample, fill the scratch."""
        channels = sum(part.shape[1] for part in parts)
        made = getattr(self.layer, "out_channels", 3 * channels)  # with indices of twice the size
        each = parts[0].shape[2] / rows_out
        joined = channels * width * each if len(parts) > 1 else 0
        results = made * width / each * (2 if isinstance(self.layer, nn.ConvTranspose2d) else 1)
        return max(1, int(self.scratch_bytes / parts[0].itemsize / (joined + results)))

    def _strip(self, parts: list[Tensor], first: int, last: int) -> Tensor:
        """Output rows first ... last - 1 of one sample, shuffled."""
        layer, rows, height = self.layer, _rows(self.layer), parts[0].shape[2]
        if isinstance(layer, nn.ConvTranspose2d):
            low = max(0, -((rows.reach - first - rows.padding) // rows.stride))
            high = min(height, (last - 1 + rows.padding) // rows.stride + 1)
            full = F.conv_transpose2d(
                _joined(_between(parts, low, high)), layer.weight, layer.bias, **_across(layer)
            )
            begin = first + rows.padding - low * rows.stride
            return self._shuffled(full[:, :, begin : begin + last - first])
        low, high = (
            first * rows.stride - rows.padding,
            (last - 1) * rows.stride - rows.padding + rows.reach + 1,
        )
        x = _joined(_between(parts, max(0, low), min(height, high)))
        if low < 0 or high > height:
            fill = 0.0 if isinstance(layer, nn.Conv2d) else -torch.inf
            x = F.pad(x, (0, 0, max(0, -low), max(0, high - height)), value=fill)
        return self._shuffled(_plain(layer, x))

    def _shuffled(self, x: Tensor) -> Tensor:
        return F.pixel_shuffle(x, self.shuffle) if self.shuffle > 1 else x


def why_not_in_strips(layer: nn.Module) -> str | None:
    """Why a layer cannot be computed in strips; None if it can."""
    if not isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.MaxPool2d):
        return "only convolutions and max-pooling are computed in strips"
    if getattr(layer, "padding_mode", "zeros") != "zeros":
        return f"padding mode '{layer.padding_mode}' needs a padded copy"
    if isinstance(layer, nn.MaxPool2d):
        return (
            "rounds its size up, or returns indices"
            if layer.ceil_mode or layer.return_indices
            else None
        )
    if (
        isinstance(layer.padding, str)
        and layer.padding == "same"
        and any(size % 2 == 0 for size in layer.kernel_size)
    ):
        return "pads more below than above"
    if isinstance(layer, nn.ConvTranspose2d):
        return (
            "its result is larger than what its inputs reach"
            if _pair(layer.output_padding)[0] > _rows(layer).padding
            else None
        )
    return "pads rows that no input reaches" if _rows(layer).padding > _rows(layer).reach else None


def _plain(layer: Any, x: Tensor) -> Tensor:
    """The layer without padding above and below."""
    if isinstance(layer, nn.Conv2d):
        return F.conv2d(
            x,
            layer.weight,
            layer.bias,
            layer.stride,
            (0, _padding(layer)[1]),
            layer.dilation,
            layer.groups,
        )
    return F.max_pool2d(x, layer.kernel_size, layer.stride, (0, _padding(layer)[1]), layer.dilation)


def _across(layer: nn.ConvTranspose2d) -> dict[str, Any]:
    """Arguments of the transposed convolution without cutting rows off above and below."""
    return {
        "stride": layer.stride,
        "padding": (0, _padding(layer)[1]),
        "output_padding": (0, _pair(layer.output_padding)[1]),
        "groups": layer.groups,
        "dilation": layer.dilation,
    }


def _rows(layer: Any) -> Rows:
    return Rows(
        _pair(layer.kernel_size)[0],
        _pair(layer.stride)[0],
        _padding(layer)[0],
        _pair(layer.dilation)[0],
    )


def _rows_out(layer: Any, height: int) -> int:
    rows = _rows(layer)
    if isinstance(layer, nn.ConvTranspose2d):
        return (
            (height - 1) * rows.stride
            - 2 * rows.padding
            + rows.reach
            + _pair(layer.output_padding)[0]
            + 1
        )
    return (height + 2 * rows.padding - rows.reach - 1) // rows.stride + 1


def _padding(layer: Any) -> tuple[int, int]:
    if isinstance(layer.padding, str):
        sizes = [
            dilation * (size - 1) // 2
            for dilation, size in zip(layer.dilation, layer.kernel_size, strict=True)
        ]
        return (sizes[0], sizes[1]) if layer.padding == "same" else (0, 0)
    return _pair(layer.padding)


def _pair(size: Any) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def _between(parts: list[Tensor], low: int, high: int) -> list[Tensor]:
    return [part[:, :, low:high] for part in parts]


def _joined(parts: Any) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts, 1)


def _empty_like_strip(strip: Tensor, batch: int, height: int) -> Tensor:
    """An output (N, C, H, W) laid out as a strip (1, C, h, W) is."""
    last = strip.is_contiguous(memory_format=torch.channels_last) and not strip.is_contiguous()
    layout = torch.channels_last if last else torch.contiguous_format
    return torch.empty(
        (batch, strip.shape[1], height, strip.shape[3]),
        dtype=strip.dtype,
        device=strip.device,
        memory_format=layout,
    )
