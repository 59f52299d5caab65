"""Instance normalisation beside which only its input and its result are alive.

    y = (x - mean) / sqrt(variance + eps) * weight + bias        for each image and channel

PyTorch's own reads contiguous images: an input in channels_last is copied, and the copy, the input
and the result are alive together.
"""

import torch
from torch import Tensor, nn

from bench.graph.node_operators import called_layer
from bench.lean.alias_analysis import AliasAnalysis
from bench.lean.headroom import Headroom


class UncopiedInstanceNorm(nn.Module):
    """The layer without a copy of its input, for inference.

    Args:
        layer: normalises (N, C, H, W).
    """

    def __init__(self, layer: nn.InstanceNorm2d) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        """(..., C, H, W) -> (..., C, H, W), in the memory format of the input."""
        layer = self.layer
        if layer.running_mean is None or layer.running_var is None:
            variance, mean = torch.var_mean(x, (-2, -1), correction=0, keepdim=True)
        else:
            mean, variance = (
                value.view(-1, 1, 1) for value in (layer.running_mean, layer.running_var)
            )
        y = (x - mean).mul_((variance + layer.eps).rsqrt_())
        if layer.affine:
            y.mul_(layer.weight.view(-1, 1, 1)).add_(layer.bias.view(-1, 1, 1))
        return y


def replace_instance_norms(analysis: AliasAnalysis, headroom: Headroom) -> None:
    """Replace the layers whose copy of the input does not fit beside what is alive."""
    for node in analysis.traced.graph.find_nodes(op="call_module"):
        layer = called_layer(analysis.traced, node)
        result = analysis.tensor(node)
        if (
            isinstance(layer, nn.InstanceNorm2d)
            and result is not None
            and result.nbytes > headroom.free_at(node)
        ):
            node.target = f"{node.name}_uncopied"
            analysis.traced.add_submodule(node.target, UncopiedInstanceNorm(layer))
