"""Small networks head -> middle -> tail, whose middles show what people write in forward functions.

Each middle is a function of the network and the output of its head, named after its habit.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.networks.public import build_with_seed

WIDTH = 8
SHAPE = (1, 3, 16, 16)


def conv(c_in: int, c_out: int) -> nn.Conv2d:
    return nn.Conv2d(c_in, c_out, 3, padding=1)


class Habit(nn.Module):
    """A network with the layers that the middles need.

    Args:
        middle: called with the network and the output of the head.
    """

    def __init__(self, middle: Callable[["Habit", Tensor], Tensor]) -> None:
        super().__init__()
        self.middle = middle
        self.head = conv(3, WIDTH)
        self.body = conv(WIDTH, WIDTH)
        self.wide = conv(WIDTH, 3 * WIDTH)
        self.tail = conv(WIDTH, 3)
        self.relu = nn.ReLU()
        self.writing = nn.ReLU(inplace=True)
        self.pad = nn.ReflectionPad2d(1)
        self.same = nn.Identity()
        self.squeeze = nn.Linear(WIDTH, 4)
        self.excite = nn.Linear(4, WIDTH)
        self.mean = nn.Buffer(torch.rand(1, WIDTH, 1, 1))
        self.order = nn.Buffer(torch.arange(WIDTH).flip(0))
        self.scale = nn.Parameter(torch.rand(1, WIDTH, 1, 1))
        self.slope = nn.Parameter(torch.rand(WIDTH))
        self.position = nn.Parameter(torch.rand(1, WIDTH, 16, 16))
        self.running = nn.InstanceNorm2d(WIDTH, affine=True, track_running_stats=True)
        self.softmax = nn.Softmax()
        self.slide = nn.Conv1d(1, 1, 3, padding=1, bias=False)
        self.volume = nn.Conv3d(1, 1, 3, padding=1)
        self.down = nn.Conv2d(WIDTH, WIDTH, 3, stride=2, padding=1)
        self.up = nn.ConvTranspose2d(WIDTH, WIDTH, 3, stride=2, padding=1)
        self.rms = nn.RMSNorm(WIDTH)
        self.slopes = nn.PReLU(WIDTH)
        self.flat = nn.BatchNorm1d(WIDTH)
        self.precise = nn.Buffer(torch.rand(1, WIDTH, 1, 1, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, 3, H, W)."""
        return self.tail(self.middle(self, self.head(x)))


def same_name_as_a_layer(net: Habit, x: Tensor) -> Tensor:
    y = F.relu(x)
    return net.relu(F.pad(net.body(y), (1, 1, 1, 1))[..., 1:-1, 1:-1]) + net.pad(y)[..., 1:-1, 1:-1]


def same_name_as_a_buffer(net: Habit, x: Tensor) -> Tensor:
    return x * x.mean((2, 3), keepdim=True) - net.mean


def weight_first(net: Habit, x: Tensor) -> Tensor:
    return net.position + net.body(x)


def channels_in_another_order(net: Habit, x: Tensor) -> Tensor:
    return net.body(x)[:, [2, 1, 0, 3, 4, 5, 6, 7]] + net.body(x)[:, net.order]


def written_under_another_name(net: Habit, x: Tensor) -> Tensor:
    skip = net.same(x)
    y = net.writing(x)
    return net.body(y) + skip


def written_twice(net: Habit, x: Tensor) -> Tensor:
    y = net.writing(x)
    y += net.body(y)
    return net.relu(y) + x


def squeeze_and_excite(net: Habit, x: Tensor) -> Tensor:
    b, c, _, _ = x.size()
    gate = (
        net.excite(net.squeeze(F.adaptive_avg_pool2d(x, 1).view(b, c)).relu())
        .sigmoid()
        .view(b, c, 1, 1)
    )
    return x * gate.expand_as(x)


def squeeze_by_axis(net: Habit, x: Tensor) -> Tensor:
    gate = net.excite(net.squeeze(x.mean(axis=(2, 3))).relu())[:, :, None, None]
    return torch.cat((x, x * gate), axis=1)[:, :, ::1].chunk(2, dim=1)[1]


def attention_over_channels(net: Habit, x: Tensor) -> Tensor:
    b, c, h, w = x.shape
    q, k, v = net.wide(x).chunk(3, 1)
    q, k, v = (
        q.reshape(b, 2, c // 2, h * w),
        k.reshape(b, 2, c // 2, h * w),
        v.reshape(b, 2, c // 2, h * w),
    )
    return x + ((q @ k.transpose(-2, -1)).softmax(dim=-1) @ v).reshape(b, c, h, w)


def scaled_by_its_width(net: Habit, x: Tensor) -> Tensor:
    return net.body(x) * x.shape[1] ** -0.5


def shaped_like_another(net: Habit, x: Tensor) -> Tensor:
    b, c, h, w = x.shape
    return net.body(x).view(b, c, h, w)


def slope_for_each_channel(net: Habit, x: Tensor) -> Tensor:
    return F.prelu(net.body(x), net.slope)


def tied_convolution(net: Habit, x: Tensor) -> Tensor:
    return F.conv_transpose2d(net.body(x).relu(), net.body.weight, padding=1)


def expanded_by_a_number(net: Habit, x: Tensor) -> Tensor:
    return x * net.body(x).mean((2, 3), keepdim=True).expand(-1, 8, 16, 16)


def pixels_as_rows(net: Habit, x: Tensor) -> Tensor:
    n, h, w = x.shape[0], x.shape[2], x.shape[3]
    rows = net.excite(net.squeeze(x.permute(dims=(0, 2, 3, 1)).reshape(n * h * w, -1)).relu())
    return rows.view(n, h, w, -1).permute(0, 3, 1, 2)


def axes_swapped(net: Habit, x: Tensor) -> Tensor:
    return net.body(x.swapaxes(axis0=2, axis1=3)).transpose(-1, -2)


def running_statistics(net: Habit, x: Tensor) -> Tensor:
    return net.running(net.body(x))


def softmax_without_an_axis(net: Habit, x: Tensor) -> Tensor:
    return net.softmax(net.body(x))


def windows_over_channels(net: Habit, x: Tensor) -> Tensor:
    means = x.mean((2, 3)).unsqueeze(1)
    gate = net.slide(means).transpose(1, 2).unsqueeze(-1).sigmoid()
    return x * gate + net.volume(x.unsqueeze(1)).squeeze(1)


def branch_that_is_a_number(net: Habit, x: Tensor) -> Tensor:
    return net.body(x) + net.same(0)


def dropout_that_asks_for_the_mode(net: Habit, x: Tensor) -> Tensor:
    return F.dropout(net.body(x), 0.5, net.training)


def sliding_windows(net: Habit, x: Tensor) -> Tensor:
    return (F.pad(net.body(x), (1, 1)).unfold(3, 3, 1) * 2).sum(-1)


def size_of_the_output_given(net: Habit, x: Tensor) -> Tensor:
    return x + net.up(net.down(x).relu(), x.shape[-2:])


def size_of_the_output_by_name(net: Habit, x: Tensor) -> Tensor:
    return x + net.up(net.down(x).relu(), output_size=x.shape[-2:])


def norm_without_a_mean(net: Habit, x: Tensor) -> Tensor:
    return net.rms(net.body(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def pixels_in_a_row(net: Habit, x: Tensor) -> Tensor:
    y = net.body(x)
    n, c, h, w = y.shape
    return net.slopes(net.flat(y.view(n, c, h * w))).view(n, c, h, w)


def double_precision_written_into_single(net: Habit, x: Tensor) -> Tensor:
    y = net.body(x)
    y -= net.precise
    return y


def gates_from_half_of_the_channels(net: Habit, x: Tensor) -> Tensor:
    y = net.body(x)
    return torch.cat([y[:, :4].tanh(), y[:, 4:]], 1)


def parts_of_a_number_of_channels(net: Habit, x: Tensor) -> Tensor:
    first, second = torch.split(net.body(x), 4, 1)
    return torch.cat([first.relu(), second], 1)


HABITS: dict[str, Callable[[], nn.Module]] = {
    middle.__name__.replace("_", " "): partial(build_with_seed, partial(Habit, middle))
    for middle in (
        same_name_as_a_layer,
        same_name_as_a_buffer,
        weight_first,
        channels_in_another_order,
        written_under_another_name,
        written_twice,
        squeeze_and_excite,
        squeeze_by_axis,
        attention_over_channels,
        scaled_by_its_width,
        shaped_like_another,
        slope_for_each_channel,
        tied_convolution,
        expanded_by_a_number,
        pixels_as_rows,
        axes_swapped,
        running_statistics,
        softmax_without_an_axis,
        windows_over_channels,
        branch_that_is_a_number,
        dropout_that_asks_for_the_mode,
        sliding_windows,
        size_of_the_output_given,
        size_of_the_output_by_name,
        norm_without_a_mean,
        pixels_in_a_row,
        double_precision_written_into_single,
        gates_from_half_of_the_channels,
        parts_of_a_number_of_channels,
    )
}
