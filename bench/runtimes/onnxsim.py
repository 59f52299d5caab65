"""onnxsim: the activation plan that it computes for an ONNX model. It runs no network.

The plan is greedy by size and best-fit. An elementwise operator overwrites an operand that nobody
else reads, a reshape is a view, and a concat is copied (onnxsim/memory_planning.h). Inputs and
outputs are in the arena.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from torch import nn

from bench.contract import Inputs
from bench.errors import ConfigError
from bench.runtimes.onnx_form import to_static_onnx
from bench.runtimes.runtime import MemoryPlan, PlannedTensor, Planner


class Onnxsim(Planner):
    """Plans as `onnxsim.plan_activation_memory` does."""

    protocol = "its activation plan; it runs no network"

    def measure(self, model: nn.Module, shape: Inputs) -> tuple[int, float | None]:
        """Return the planned peak."""
        return self.plan(model, shape).peak_bytes, None

    def plan(self, model: nn.Module, shape: Inputs) -> MemoryPlan:
        """Return the plan of the network as ONNX."""
        from onnxsim import plan_activation_memory

        proto = to_static_onnx(model, shape)
        plan = plan_activation_memory(proto)
        if plan.unplanned or plan.subgraph_plans:
            raise ConfigError(
                f"onnxsim does not plan all of {type(model).__name__}: it leaves out "
                f"{', '.join([*plan.unplanned, *plan.subgraph_plans][:3])}"
            )
        tensors = tuple(_planned_tensors(proto.graph, plan.tensor_offsets))
        return MemoryPlan(plan.arena_bytes, tensors, _Replay(proto.graph, tensors))


RUNTIME = Onnxsim()


def _planned_tensors(graph: Any, offsets: dict[str, tuple[int, int]]) -> Iterator[PlannedTensor]:
    """Yield the tensors of a plan in the order of the program."""
    end = len(graph.node)
    birth = {value.name: -1 for value in graph.input}
    death: dict[str, int] = {}
    for position, node in enumerate(graph.node):
        birth |= {name: position for name in node.output if name}
        death |= {name: position for name in node.input if name}
    death |= {value.name: end for value in graph.output}
    for name, first in birth.items():
        if name in offsets:
            offset, size_bytes = offsets[name]
            yield PlannedTensor(name, size_bytes, first, death.get(name, end), offset)


class _Replay:
    """A plan for other sizes, made from a model that has the structure alone.

    Each tensor is a row of bytes there, and weights have no size.
    """

    def __init__(self, graph: Any, tensors: Sequence[PlannedTensor]) -> None:
        from onnx import TensorProto, helper

        self.structure = helper.make_model(helper.make_graph([], "structure", [], []))
        skeleton = self.structure.graph
        for node in graph.node:
            skeleton.node.add(op_type=node.op_type, input=node.input, output=node.output)
        for weight in graph.initializer:
            skeleton.initializer.add(name=weight.name, data_type=TensorProto.UINT8, dims=[0])
        ends = {value.name: skeleton.input for value in graph.input}
        ends |= {value.name: skeleton.output for value in graph.output}
        self.sizes = []
        for tensor in tensors:
            value = helper.make_tensor_value_info(tensor.name, TensorProto.UINT8, [0])
            self.sizes.append(ends.get(tensor.name, skeleton.value_info).add())
            self.sizes[-1].CopyFrom(value)

    def __call__(self, sizes: Sequence[int]) -> int:
        from onnxsim import plan_activation_memory

        for value, size in zip(self.sizes, sizes, strict=True):
            value.type.tensor_type.shape.dim[0].dim_value = size
        plan = plan_activation_memory(self.structure, run_shape_inference=False)
        return int(plan.arena_bytes)
