"""What each operator of the operator table reads of the image: one row per operator, by its name.

`arguments` names the layer attributes, or the call arguments in their order, that a rule needs
beside those that `bench.graph.operators` names. An operator that has no rule for pixels is refused
by name, unless it sees none.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from bench.tiling import compute_rules as compute
from bench.tiling import shape_rules as shapes
from bench.tiling.pixels import Pixels


@dataclass(frozen=True)
class Spatial:
    """One row of the table.

    Args:
        rule: (walk, operator, arguments by name) -> the pixels of what it makes.
        arguments: names of the call arguments or layer attributes that the rule needs.
    """

    rule: Callable[..., Pixels]
    arguments: tuple[str, ...] = ()


def _rows(names: str, rule: Callable[..., Pixels], arguments: str = "") -> dict[str, Spatial]:
    return dict.fromkeys(names.split(), Spatial(rule, tuple(arguments.split())))


UPSAMPLE = "size scale_factor mode align_corners recompute_scale_factor"
# By the class of a layer.
SPATIAL_LAYERS: dict[str, Spatial] = (
    _rows("Conv2d", compute.convolve, "stride")
    | _rows("ConvTranspose2d", compute.convolve_transposed, "stride")
    | _rows("Linear", compute.mix_last)
    | _rows("MaxPool2d", compute.pool, "kernel_size stride padding dilation")
    | _rows("AvgPool2d", compute.pool, "kernel_size stride padding")
    | _rows("LPPool2d", compute.pool, "kernel_size stride")
    | _rows("AdaptiveAvgPool2d AdaptiveMaxPool2d", compute.pool_to_size)
    | _rows("AdaptiveAvgPool1d", partial(compute.pool_to_size, axes=1))
    | _rows("Upsample", compute.resample, UPSAMPLE)
    | _rows("UpsamplingNearest2d UpsamplingBilinear2d", compute.resample, UPSAMPLE)
    | _rows("ZeroPad2d ConstantPad2d ReplicationPad2d", compute.pad, "padding")
    | _rows("ReflectionPad2d", partial(compute.pad, mode="reflect"), "padding")
    | _rows("CircularPad2d", partial(compute.pad, mode="circular"), "padding")
    | _rows("ReLU LeakyReLU ReLU6 RReLU ELU CELU SELU GELU SiLU Mish", compute.pixelwise)
    | _rows("Hardswish Hardsigmoid Hardtanh Sigmoid Tanh", compute.pixelwise)
    | _rows("LogSigmoid Softplus Softsign Tanhshrink Hardshrink", compute.pixelwise)
    | _rows("Softshrink Threshold PReLU", compute.pixelwise)
    | _rows("BatchNorm1d BatchNorm2d", compute.pixelwise)
    | _rows("InstanceNorm1d InstanceNorm2d GroupNorm", compute.statistics)
    | _rows("LayerNorm RMSNorm", compute.layer_norm)
    | _rows("Softmax LogSoftmax", compute.normalise)
    | _rows("Identity Dropout Dropout2d AlphaDropout", compute.keep_first)
    | _rows("Flatten Unflatten", shapes.reshape)
    | _rows("PixelShuffle", compute.shuffle)
    | _rows("PixelUnshuffle", compute.unshuffle)
    | _rows("Conv1d Conv3d Embedding Unfold Fold AvgPool1d", compute.refused)
)

# By the name of a function or tensor method, without a trailing underscore.
SPATIAL_CALLS: dict[str, Spatial] = (
    _rows("conv2d", compute.convolve, "input weight bias stride padding dilation")
    | _rows(
        "conv_transpose2d",
        compute.convolve_transposed,
        "input weight bias stride padding output_padding groups dilation",
    )
    | _rows("linear", compute.mix_last)
    | _rows("matmul bmm", compute.multiply)
    | _rows("max_pool2d", compute.pool, "input kernel_size stride padding dilation")
    | _rows("avg_pool2d", compute.pool, "input kernel_size stride padding")
    | _rows("adaptive_avg_pool2d adaptive_max_pool2d", compute.pool_to_size)
    | _rows("interpolate upsample", compute.resample, f"input {UPSAMPLE} antialias")
    | _rows("pad", compute.pad, "input pad mode")
    | _rows("relu relu6 leaky_relu elu celu selu gelu silu mish", compute.pixelwise)
    | _rows("hardswish hardsigmoid hardtanh sigmoid tanh prelu", compute.pixelwise)
    | _rows("logsigmoid softplus softsign threshold", compute.pixelwise)
    | _rows("clamp clip clamp_min clamp_max", compute.pixelwise)
    | _rows("add iadd sub isub mul imul div truediv itruediv", compute.pixelwise)
    | _rows("divide multiply subtract rsub", compute.pixelwise)
    | _rows("gt lt ge le eq ne where masked_fill", compute.pixelwise)
    | _rows("pow sqrt rsqrt square exp log abs neg reciprocal sin cos", compute.pixelwise)
    | _rows("maximum minimum lerp addcmul addcdiv atan2", compute.pixelwise)
    | _rows("floor ceil round sign erf tan atan log2 log1p expm1 logit", compute.pixelwise)
    | _rows("logical_not logical_and logical_or nan_to_num complex", compute.pixelwise)
    | _rows("type type_as to float double half bfloat16 long int bool cpu cuda", compute.keep_first)
    | _rows("clone dropout dropout2d contiguous detach", compute.keep_first)
    | _rows("expand_as", compute.pixelwise)
    | _rows("mean sum amax amin std var prod norm argmax argmin", compute.reduce)
    | _rows("max min", compute.extremum)
    | _rows("softmax log_softmax normalize", compute.normalise)
    | _rows("instance_norm group_norm", compute.statistics)
    | _rows("layer_norm rms_norm", compute.layer_norm, "input normalized_shape")
    | _rows("topk sort argsort cumsum cumprod roll flip", compute.along)
    | _rows("fft_rfft2 fft_irfft2 fft_fft2 fft_ifft2", compute.along)
    | _rows("fft_rfftn fft_irfftn fft_fftn fft_ifftn", compute.along)
    | _rows("zeros ones full empty", compute.uniform)
    | _rows("new_zeros new_ones new_full new_empty", compute.uniform)
    | _rows("zeros_like ones_like full_like empty_like", compute.uniform)
    | _rows("set_item", shapes.assign)
    | _rows("getitem", shapes.index)
    | _rows("expand", shapes.expand)
    | _rows("reshape view view_as flatten unflatten squeeze unsqueeze", shapes.reshape)
    | _rows("permute", shapes.permute)
    | _rows("transpose swapaxes swapdims", shapes.transpose)
    | _rows("t", shapes.transpose_last)
    | _rows("getattr", shapes.attribute)
    | _rows("unbind", shapes.unbind)
    | _rows("chunk split", shapes.cut)
    | _rows("stack", shapes.stack)
    | _rows("cat concat concatenate", shapes.concat)
    | _rows("pixel_shuffle", compute.shuffle)
    | _rows("pixel_unshuffle", compute.unshuffle)
    | _rows("conv1d embedding einsum scaled_dot_product_attention", compute.refused)
    | _rows("repeat repeat_interleave index_select tril triu gather", compute.refused)
    | _rows("rot90 view_as_real view_as_complex", compute.refused)
    | _rows("[tensor] rand randn rand_like randn_like normal uniform", compute.refused)
    | _rows("grid_sample unfold fold .unfold narrow meshgrid", compute.refused)
    | _rows("arange linspace eye tensor scatter index_add masked_scatter", compute.refused)
)
