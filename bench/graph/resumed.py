"""Run a traced network again from a layer on, with the values that were computed before it.

A search measures many versions of one network on the same inputs, each of which differs from it
from some layer on. What comes before that layer is computed once for each input.

An operator may overwrite a value that was computed long before it (`x += skip`). A run that starts
between the two would find the value overwritten already, so it starts where the value is made.
"""

from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Graph, GraphModule, Interpreter
from torch.utils._pytree import tree_leaves

from bench.graph.tracing import node_names, trace_module

KEPT_BYTES = 2**30


class ResumedNetwork(nn.Module):
    """A network that keeps the values of each input and computes only what follows a change.

    Neither its weights nor its inputs may change, other than by `run_as` and `replace`, as long as
    it is used.

    Args:
        network: can be traced.
        changing: names of the operators, layers and weights in which versions may differ; values
            that only earlier operators read are not kept.
        kept_bytes: inputs whose values exceed this sum are computed whole, each time anew.
    """

    def __init__(
        self, network: nn.Module, changing: Collection[str], kept_bytes: int = KEPT_BYTES
    ) -> None:
        super().__init__()
        self.version = network
        traced = trace_module(network)
        self._graph = traced.graph
        self._positions: dict[str, int] = {}
        for position, (node, name) in enumerate(node_names(traced).items()):
            self._positions.setdefault(name, position)
            self._positions.setdefault(str(node.target), position)
        self._first = self._start = self._find_start(changing)
        self._keeps = True
        self._kept_bytes = kept_bytes
        self._kept: dict[tuple[int, ...], _Values] = {}
        self._overwrites: set[tuple[int, int]] = set()

    def run_as(
        self, version: nn.Module, changed: Collection[str]
    ) -> AbstractContextManager[nn.Module]:
        """Give a context in which it computes what another version of the network computes.

        An input that comes for the first time is computed whole there, and nothing of it is kept.

        Args:
            version: the network itself with other weights, or a copy.
            changed: names of the operators, layers and weights in which it differs.
        """
        return self._run(version, changed, keeps=False)

    def run_from(self, names: Collection[str]) -> AbstractContextManager[nn.Module]:
        """Give a context in which the network itself computes anew from the first operator on.

        Args:
            names: of operators, layers and weights; without any, its output is taken as it is.
        """
        return self._run(self.version, names, keeps=True)

    @contextmanager
    def _run(self, version: nn.Module, names: Collection[str], keeps: bool) -> Iterator[nn.Module]:
        before = self.version, self._start, self._keeps
        self.version, self._start, self._keeps = version, self._find_start(names), keeps
        try:
            yield self
        finally:
            self.version, self._start, self._keeps = before

    def replace(self, version: nn.Module, changed: Collection[str]) -> None:
        """Take another version for the network from now on; see `run_as`."""
        self.version = version
        self._graph = self._graph_of(version)
        start = self._move_before_overwrites(self._find_start(changed))
        for kept in self._kept.values():
            kept.known = min(kept.known, start)

    def forward(self, *inputs: Tensor) -> Any:
        """Return the output of the version, from the kept values where there are any."""
        kept = self._keep_values(inputs)
        run = _Run(self.version, self._graph_of(self.version))
        if kept is None:
            return run.resume(_Values(inputs), 0)
        return run.resume(kept, self._move_before_overwrites(self._start))

    def _graph_of(self, version: nn.Module) -> Graph:
        """Return the graph of a version; surgery keeps the names of its nodes."""
        return version.graph if isinstance(version, GraphModule) else self._graph

    def _find_start(self, names: Collection[str]) -> int:
        """Return the position of the first of some operators; of the output if there are none."""
        return min(
            (self._positions.get(name, 0) for name in names), default=len(self._graph.nodes) - 1
        )

    def _move_before_overwrites(self, start: int) -> int:
        """Return the last position up to `start` where no value is overwritten already."""
        for born, written in sorted(self._overwrites, reverse=True):
            if born < start <= written:
                start = born
        return start

    def _keep_values(self, inputs: tuple[Tensor, ...]) -> "_Values | None":
        """Return the kept values of some inputs; None if there are none and none may be kept."""
        kept = self._kept.get(tuple(map(id, inputs)), _Values(inputs))
        if kept.known == len(self._graph.nodes):
            return kept
        if not self._keeps:
            return None
        sizes = [other.count_bytes() for other in self._kept.values()]
        if not kept.known and sum(sizes) + max(sizes, default=0) > self._kept_bytes:
            return None
        with torch.inference_mode(False), torch.no_grad():
            values, overwrites = _Run(self.version, self._graph).record(kept)
        self._overwrites |= overwrites
        nodes = list(self._graph.nodes)
        first = self._move_before_overwrites(self._first)
        read = {read.name for node in nodes[first:] for read in node.all_input_nodes}
        kept.values = {name: value for name, value in values.items() if name in read}
        kept.known = len(nodes)
        self._kept[tuple(map(id, inputs))] = kept
        return kept


@dataclass
class _Values:
    """The values of one input that are kept, by name; those before position `known` are valid."""

    inputs: tuple[Tensor, ...]
    values: dict[str, Any] = field(default_factory=dict)
    known: int = 0

    def count_bytes(self) -> int:
        """Return the size of their storages."""
        storages = {
            _storage(each): each.untyped_storage().nbytes() for each in _tensors(self.values)
        }
        return sum(storages.values())


class _Run(Interpreter):
    """One run of a graph on the layers of a network."""

    def __init__(self, network: nn.Module, graph: Graph) -> None:
        super().__init__(network, graph=graph)
        self.nodes = list(graph.nodes)

    def record(self, kept: _Values) -> tuple[dict[str, Any], set[tuple[int, int]]]:
        """Run from the first position that is not known on.

        Returns:
            All values by name; for each operator that overwrites a value, the positions where the
            value is made and overwritten.
        """
        # Only outside of inference mode do tensors tell that they are overwritten.
        self.args_iter = iter([x.clone() if x.is_inference() else x for x in kept.inputs])
        self._load(kept.values, kept.known)
        born: dict[int, int] = {}
        overwrites = set()
        for position, node in enumerate(self.nodes):
            if position >= kept.known:
                reads = [self.env[read] for read in node.all_input_nodes]
                versions = [(each, each._version) for each in _tensors(reads)]
                self.env[node] = self.run_node(node)
                overwrites |= {
                    (born[_storage(tensor)], position)
                    for tensor, version in versions
                    if tensor._version != version
                }
            for each in _tensors(self.env.get(node)):
                born.setdefault(_storage(each), position)
        return {node.name: value for node, value in self.env.items()}, overwrites

    def resume(self, kept: _Values, start: int) -> Any:
        """Run from a position on, and return the output."""
        self.args_iter = iter(kept.inputs)
        self._load(kept.values, start)
        result = None
        for node in self.nodes[start:]:
            self.env[node] = result = self.run_node(node)
            for read in self.user_to_last_uses.get(node, ()):
                self.env.pop(read, None)
        return result

    def _load(self, values: dict[str, Any], end: int) -> None:
        """Take the values of the nodes before a position."""
        self.env = {node: values[node.name] for node in self.nodes[:end] if node.name in values}


def _tensors(values: Any) -> list[Tensor]:
    return [each for each in tree_leaves(values) if isinstance(each, Tensor)]


def _storage(tensor: Tensor) -> int:
    """Return what tells the storage of a tensor from others that are alive."""
    return tensor.untyped_storage()._cdata
