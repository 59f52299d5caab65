"""Layers that compute their weights, or whose parts surgery cannot reach, as plain layers.

Spectral norm divides a weight by a number that is constant in evaluation mode. The attention of
torch.nn keeps its projections to queries, keys and values in one weight. In a copy of the network,
the quotient is the weight, and each projection is a linear layer.
"""

from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import remove_spectral_norm

from bench.errors import ConfigError

SPECTRAL_NORMS = ("SpectralNorm", "_SpectralNorm")  # the hook, and the parametrization


def with_plain_layers(model: nn.Module) -> nn.Module:
    """Return the network, or a copy of it that shares the weights that stay as they are.

    Raises:
        ConfigError: it cannot be copied, or has attention that is not known here.
    """
    if not any(_is_attention(layer) or _has_spectral_norm(layer) for layer in model.modules()):
        return model
    values = (value for module in model.modules() for value in vars(module).values())
    computed = [value for value in values if isinstance(value, Tensor)]
    tensors = [*model.parameters(), *model.buffers(), *computed]
    try:
        copy = deepcopy(model, {id(tensor): tensor for tensor in tensors}).eval()
    except RuntimeError as error:
        raise ConfigError(
            f"{type(model).__name__} keeps tensors of a run, which cannot be copied; "
            "build and run it under torch.no_grad()"
        ) from error
    for path, layer in list(copy.named_modules()):
        if _is_attention(layer):
            copy.set_submodule(path, Attention(layer))
        elif _has_spectral_norm(layer):
            _fold_spectral_norm(layer)
    return copy


def _is_attention(layer: nn.Module) -> bool:
    return type(layer) is nn.MultiheadAttention


def _has_spectral_norm(layer: nn.Module) -> bool:
    parts = list(layer._forward_pre_hooks.values())
    for computed in getattr(layer, "parametrizations", {}).values():
        parts += computed
    return any(type(part).__name__ in SPECTRAL_NORMS for part in parts)


def _fold_spectral_norm(layer: Any) -> None:
    """Give a layer the weight that it computes."""
    if not hasattr(layer, "parametrizations"):
        remove_spectral_norm(layer)
        return
    # The library's own removal breaks the layer that this one is a copy of: they share a class.
    weight = nn.Parameter(layer.weight.detach())
    del layer.parametrizations
    layer.__class__ = type(layer).__mro__[1]
    layer.weight = weight


class Attention(nn.Module):
    """What `nn.MultiheadAttention` computes, from layers and operators.

    Args:
        layer: whose weights it shares.
    """

    def __init__(self, layer: Any) -> None:
        super().__init__()
        if layer.bias_k is not None or layer.add_zero_attn:
            raise ConfigError("attention with further keys (add_bias_kv, add_zero_attn) is unknown")
        weights = (
            (layer.q_proj_weight, layer.k_proj_weight, layer.v_proj_weight)
            if layer.in_proj_weight is None
            else layer.in_proj_weight.chunk(3)
        )
        biases = (None,) * 3 if layer.in_proj_bias is None else layer.in_proj_bias.chunk(3)
        self.q, self.k, self.v = map(_make_linear, weights, biases)
        self.project = _make_linear(layer.out_proj.weight, layer.out_proj.bias)
        self.dropout = nn.Dropout(layer.dropout)
        self.heads = layer.num_heads
        self.scale = layer.head_dim**-0.5
        self.batch_first = layer.batch_first

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Return the attended values, of the shape of `query`, and the weights if needed.

        Raises:
            ConfigError: it is called in a way that is not written out here.
        """
        if key_padding_mask is not None or is_causal or len(query.shape) != 3:
            raise ConfigError("attention over padded, causal or single sequences is unknown")
        if not self.batch_first:
            query, key, value = (tokens.transpose(0, 1) for tokens in (query, key, value))
        b, n = query.shape[0], query.shape[1]
        q, k, v = (
            layer(tokens).reshape(b, tokens.shape[1], self.heads, -1).transpose(1, 2)
            for layer, tokens in ((self.q, query), (self.k, key), (self.v, value))
        )
        weights = (q * self.scale) @ k.transpose(-2, -1)
        if attn_mask is not None:
            mask = attn_mask if len(attn_mask.shape) == 2 else attn_mask.view(weights.shape)
            is_hidden = mask.dtype == torch.bool
            weights = weights.masked_fill(mask, float("-inf")) if is_hidden else weights + mask
        weights = self.dropout(weights.softmax(-1))
        result = self.project((weights @ v).transpose(1, 2).reshape(b, n, -1))
        if not self.batch_first:
            result = result.transpose(0, 1)
        if not need_weights:
            return result, None
        return result, weights.mean(1) if average_attn_weights else weights


def _make_linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    """Return a linear layer that shares a weight and a bias."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias is not None, device="meta")
    layer.weight = nn.Parameter(weight.detach(), weight.requires_grad)
    if bias is not None:
        layer.bias = nn.Parameter(bias.detach(), bias.requires_grad)
    return layer
