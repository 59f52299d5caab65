"""The operator table: what each operator does to memory and to channels, one row per operator.

An operator that is not in the table is refused by name, never counted as zero. Memory, under the
two conventions ("planned": the least that a good executor needs, which the 768M of MOSP's Table 1
implies; "eager": the operators as written):

    ALLOCATE      both:    writes a new storage
    ELEMENTWISE   planned: overwrites an operand that is not read later and has the shape of the
                           result, else writes a new storage
                  eager:   overwrites only where the code says so
    VIEW          both:    has no storage of its own, but eager copies where PyTorch has to
    REARRANGE     planned: a view (an operator that reads it reads its parts)
                  eager:   writes a new storage
    CONVERT       both:    writes a new storage, but none where the type stays

`bench.channels.compute_rules` and `bench.channels.shape_rules` define what happens to channels, one
rule for each word in the column `channels`. `arguments` names the call arguments, in their order,
or the layer attributes that such a rule needs; a name with a star takes all that are left.
"""

from dataclasses import dataclass
from typing import Literal

Memory = Literal["allocate", "elementwise", "view", "rearrange", "convert"]


@dataclass(frozen=True)
class Operator:
    """One row of the table.

    Args:
        memory: effect on memory.
        channels: effect on channels, the name of a rule in bench.channels.
        arguments: names of the call arguments or layer attributes that the rule needs.
    """

    memory: Memory
    channels: str
    arguments: tuple[str, ...] = ()


def _rows(names: str, memory: Memory, channels: str, arguments: str = "") -> dict[str, Operator]:
    return dict.fromkeys(names.split(), Operator(memory, channels, tuple(arguments.split())))


CONVOLUTION = "groups transposed kernel_size dilation padding padding_mode"
# By the class of a layer.
LAYERS: dict[str, Operator] = (
    _rows("Conv2d ConvTranspose2d", "allocate", "mix", CONVOLUTION)
    | _rows("Conv1d Conv3d", "allocate", "slide")
    | _rows("Linear", "allocate", "mix_last")
    | _rows("MaxPool2d AvgPool2d LPPool2d AdaptiveAvgPool2d AdaptiveMaxPool2d", "allocate", "keep")
    | _rows("Upsample UpsamplingNearest2d UpsamplingBilinear2d", "allocate", "keep")
    | _rows("ZeroPad2d ConstantPad2d ReflectionPad2d ReplicationPad2d", "allocate", "keep")
    | _rows("CircularPad2d", "allocate", "keep")
    | _rows("ReLU LeakyReLU ReLU6 RReLU ELU CELU SELU GELU SiLU Mish", "elementwise", "keep")
    | _rows("Hardswish Hardsigmoid Hardtanh Sigmoid Tanh", "elementwise", "keep")
    | _rows("LogSigmoid Softplus Softsign Tanhshrink Hardshrink", "elementwise", "keep")
    | _rows("Softshrink Threshold", "elementwise", "keep")
    | _rows("PReLU", "elementwise", "keep_own", "num_parameters")
    | _rows("BatchNorm1d BatchNorm2d", "elementwise", "keep_own")
    | _rows("InstanceNorm1d InstanceNorm2d", "allocate", "keep_own")
    | _rows("GroupNorm", "allocate", "group_norm", "num_groups")
    | _rows("LayerNorm", "allocate", "layer_norm", "normalized_shape")
    | _rows("RMSNorm", "allocate", "layer_norm", "normalized_shape")
    | _rows("Softmax LogSoftmax", "allocate", "normalise", "dim")
    | _rows("Embedding", "allocate", "embed")
    | _rows("Unfold", "allocate", "unfold", "kernel_size")
    | _rows("Fold", "allocate", "fold", "kernel_size")
    | _rows("AdaptiveAvgPool1d AvgPool1d", "allocate", "keep")
    | _rows("Identity Dropout Dropout2d AlphaDropout", "view", "keep")
    | _rows("Flatten", "view", "reshape")
    | _rows("Unflatten", "view", "opaque")
    | _rows("PixelShuffle", "rearrange", "shuffle", "upscale_factor")
    | _rows("PixelUnshuffle", "rearrange", "unshuffle", "downscale_factor")
)

# By the name of a function or tensor method, without a trailing underscore.
CALLS: dict[str, Operator] = (
    _rows("conv1d conv_transpose2d embedding", "allocate", "opaque")
    | _rows("conv2d linear layer_norm", "allocate", "function")
    | _rows("matmul bmm", "allocate", "matmul")
    | _rows("einsum", "allocate", "einsum", "equation")
    | _rows("scaled_dot_product_attention", "allocate", "attention")
    | _rows("max_pool2d avg_pool2d adaptive_avg_pool2d adaptive_max_pool2d", "allocate", "keep")
    | _rows("interpolate upsample", "allocate", "keep")
    | _rows("pad clone", "allocate", "keep")
    | _rows("relu relu6 leaky_relu elu celu selu gelu silu mish", "elementwise", "keep")
    | _rows("hardswish hardsigmoid hardtanh sigmoid tanh", "elementwise", "keep")
    | _rows("prelu", "elementwise", "opaque")
    | _rows("logsigmoid softplus softsign threshold", "elementwise", "keep")
    | _rows("clamp clip clamp_min clamp_max", "elementwise", "keep")
    | _rows("add iadd sub isub mul imul div truediv itruediv", "elementwise", "keep")
    | _rows("divide multiply subtract rsub", "elementwise", "keep")
    | _rows("gt lt ge le eq ne where masked_fill", "elementwise", "keep")
    | _rows("pow sqrt rsqrt square exp log abs neg reciprocal sin cos", "elementwise", "keep")
    | _rows("maximum minimum lerp addcmul addcdiv atan2", "elementwise", "keep")
    | _rows("floor ceil round sign erf tan atan log2 log1p expm1 logit", "elementwise", "keep")
    | _rows("logical_not logical_and logical_or nan_to_num", "elementwise", "keep")
    | _rows("set_item", "elementwise", "assign", "input index")
    | _rows("mean sum amax amin std var prod", "allocate", "reduce", "input dim keepdim")
    | _rows("norm", "allocate", "reduce", "input p dim keepdim")
    | _rows("max min", "allocate", "extremum", "input dim keepdim")
    | _rows("argmax argmin", "allocate", "reduce", "input dim keepdim")
    | _rows("topk", "allocate", "move_last", "input k dim")
    | _rows("sort argsort", "allocate", "move_last", "input dim")
    | _rows("cumsum cumprod", "allocate", "move", "input dim")
    | _rows("fft_rfft2 fft_irfft2 fft_fft2 fft_ifft2", "allocate", "move_last", "input s dim")
    | _rows("fft_rfftn fft_irfftn fft_fftn fft_ifftn", "allocate", "move", "input s dim")
    | _rows("complex", "allocate", "keep")
    | _rows("view_as_real view_as_complex", "view", "move_last")
    | _rows("softmax log_softmax", "allocate", "normalise", "input dim")
    | _rows("normalize", "allocate", "normalise", "input p dim")
    | _rows("instance_norm group_norm", "allocate", "opaque")
    | _rows("rms_norm", "allocate", "opaque")
    | _rows("repeat repeat_interleave index_select tril triu", "allocate", "opaque")
    | _rows("gather", "allocate", "gather", "input dim index")
    | _rows("[tensor]", "allocate", "take", "input index")
    | _rows("roll", "allocate", "move", "input shifts dims")
    | _rows("flip", "allocate", "move", "input dims")
    | _rows("rot90", "allocate", "move", "input k dims")
    | _rows("stack", "allocate", "stack", "tensors dim")
    | _rows("grid_sample", "allocate", "sample")
    | _rows("unfold", "allocate", "unfold", "input kernel_size")
    | _rows("fold", "allocate", "fold", "input output_size kernel_size")
    | _rows(".unfold", "view", "opaque")
    | _rows("arange linspace eye tensor", "allocate", "opaque")
    | _rows("zeros ones full empty rand randn", "allocate", "create", "*sizes")
    | _rows("scatter index_add masked_scatter", "allocate", "opaque")
    | _rows("new_zeros new_ones new_full new_empty", "allocate", "create", "input *sizes")
    | _rows("zeros_like ones_like full_like empty_like", "allocate", "keep_first")
    | _rows("rand_like randn_like", "allocate", "keep_first")
    | _rows("normal uniform", "elementwise", "keep")
    | _rows("meshgrid", "allocate", "opaque")
    | _rows(
        "type type_as to float double half bfloat16 long int bool cpu cuda", "convert", "keep_first"
    )
    | _rows("dropout dropout2d contiguous detach expand_as", "view", "keep")
    | _rows("expand", "view", "expand", "input *sizes")
    | _rows("reshape view", "view", "reshape", "input *sizes")
    | _rows("view_as flatten squeeze unsqueeze", "view", "reshape")
    | _rows("permute", "view", "permute", "input *dims")
    | _rows("transpose swapaxes swapdims", "view", "transpose", "input dim0 dim1")
    | _rows("getitem", "view", "index", "input index")
    | _rows("unbind", "view", "unbind", "input dim")
    | _rows("t", "view", "transpose_last")
    | _rows("getattr", "view", "attribute", "input name")
    | _rows("narrow unflatten", "view", "opaque")
    | _rows("chunk", "view", "chunk", "input chunks dim")
    | _rows("split", "view", "split", "input sizes dim")
    | _rows("pixel_shuffle", "rearrange", "shuffle", "input upscale_factor")
    | _rows("pixel_unshuffle", "rearrange", "unshuffle", "input downscale_factor")
    | _rows("cat concat concatenate", "rearrange", "concat", "tensors dim")
)

# The same for layers that have no running statistics: a BatchNorm without them computes statistics
# of its input in eval mode too.
BATCH_STATISTICS_LAYERS = LAYERS | _rows("BatchNorm1d BatchNorm2d", "allocate", "keep_own")
