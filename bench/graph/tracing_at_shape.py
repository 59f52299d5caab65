"""Trace a network at one input shape, where plain symbolic tracing gives up.

While its forward function runs, every tensor has a result on the meta device
(`bench.graph.values`), so that the code may compute and decide with sizes: pad to a window, count
windows, unpack a shape. Arguments beyond the given inputs take their defaults, and the network is
in evaluation mode.
"""

import builtins
import operator
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Interpreter, Node
from torch.fx.node import map_arg
from torch.overrides import TorchFunctionMode, is_tensor_method_or_property
from torch.utils._pytree import tree_leaves

from bench.contract import Shape
from bench.errors import ConfigError
from bench.graph.functional_layers import call_layers
from bench.graph.int_calls import record_int_calls
from bench.graph.interception import accept_stand_ins, plain_range
from bench.graph.meta_run import copy_to_meta, meta_inputs
from bench.graph.source_location import (
    calling_user_line,
    first_line,
    first_user_line,
)
from bench.graph.tracing import FaithfulTracer
from bench.graph.values import Number, ValueProxy, make_number
from bench.torch_state import eval_mode
from bench.units import format_shape

AT_SHAPE = "at_shape"  # key in the `meta` of a network that is traced at a shape
TOLERANCES = (1e-3, 1e-5)  # relative, absolute: other kernels sum in another order
PASSED_OVER = ("__get__", "__set__", "__hash__", "__repr__")
FACTORIES = frozenset(
    (
        torch.arange,
        torch.empty,
        torch.eye,
        torch.full,
        torch.linspace,
        torch.ones,
        torch.rand,
        torch.randn,
        torch.tensor,
        torch.zeros,
    )
)


def trace_at_shape(model: nn.Module, shapes: tuple[Shape, ...]) -> GraphModule:
    """Return the network with its forward function written out; it shares the layers of `model`.

    Raises:
        ConfigError: the network cannot be traced, or does not accept the shapes.
    """
    shadow = copy_to_meta(model)
    tracer = ShapeTracer(meta_inputs(shadow, shapes))
    try:
        graph = tracer.trace(shadow)
        tracer.drop_unread_numbers()
        traced = GraphModule(model, graph, type(model).__name__)
        if call_layers(traced, tracer.values):
            traced = _without_unread_weights(traced)
    except Exception as error:
        raise ConfigError(
            f"{type(model).__name__} cannot be traced at an input of {format_shape(shapes)}"
            f"{first_user_line(error)}: {first_line(error)}"
        ) from error
    traced.meta[AT_SHAPE] = shapes
    return traced


def _without_unread_weights(traced: GraphModule) -> GraphModule:
    """Return the network without weights that nothing reads, as layers read them now."""
    for node in reversed(list(traced.graph.find_nodes(op="get_attr"))):
        if not node.users:
            traced.graph.erase_node(node)
    return GraphModule(traced, traced.graph, type(traced).__name__)


def relax_checks(
    traced: GraphModule,
    model: nn.Module,
    examples: Sequence[Tensor],
    shapes: Iterable[Shape] = (),
) -> None:
    """Remove the checks that fail at other sizes although nothing depends on them there.

    A mask that is computed for every size but one, for which it is kept, is such a decision.

    Args:
        traced: changed.
        model: the network that it is traced from.
        examples: inputs (N, C, H, W) for which both must give the same.
        shapes: of further inputs; they are only tried, with random numbers, if a check fails there.

    Raises:
        ConfigError: the traced network is another one than the network at one of these sizes.
    """
    for example in examples:
        _relax_at(traced, model, example)
    for shape in dict.fromkeys(shapes):
        if not has_checks(traced):
            return
        run = _UncheckedRun(copy_to_meta(traced))  # type: ignore[arg-type]
        try:
            run.run(*meta_inputs(traced, (shape,)))
            fails = bool(run.failed)
        except Exception:  # the shapes do not fit; the comparison says where
            fails = True
        if fails:
            _relax_at(traced, model, torch.rand(shape, generator=torch.Generator().manual_seed(0)))


def has_checks(traced: GraphModule) -> bool:
    """Return whether a traced network refuses some sizes that the network itself may accept."""
    return any(node.target is torch._assert for node in traced.graph.nodes)


def _relax_at(traced: GraphModule, model: nn.Module, example: Tensor) -> None:
    """Compare both networks at one input; remove the checks that fail. Raises ConfigError."""
    run = _UncheckedRun(traced)
    with eval_mode(model), torch.inference_mode():
        expected = tree_leaves(model(example.clone()))
        try:
            found = tree_leaves(run.run(example.clone()))
        except Exception:  # the shapes do not fit, or any other consequence of the decision
            found = []
    if len(found) != len(expected) or not all(map(_is_close, found, expected)):
        reason = run.failed[0].args[1] if run.failed else "it is traced for one size"
        raise ConfigError(
            f"{type(model).__name__} is another network at {format_shape(example.shape)} than "
            f"at {format_shape(traced.meta[AT_SHAPE])}, where memory is counted: {reason}"
        )
    failed = {node.name for node in run.failed}
    for node in [node for node in traced.graph.nodes if node.name in failed]:
        traced.graph.erase_node(node)
    if failed:
        traced.recompile()


class _UncheckedRun(Interpreter):
    """Runs a traced network and collects the checks that fail."""

    def __init__(self, traced: GraphModule) -> None:
        super().__init__(traced)
        self.failed: list[Node] = []

    def run_node(self, n: Node) -> Any:
        """Run one node; of a check, only note whether it fails."""
        if n.target is not torch._assert:
            return super().run_node(n)
        if not self.fetch_args_kwargs_from_env(n)[0][0]:
            self.failed.append(n)
        return None


def _is_close(found: Tensor, expected: Tensor) -> bool:
    return found.shape == expected.shape and torch.allclose(found, expected, *TOLERANCES)


class ShapeTracer(FaithfulTracer):
    """A tracer whose stand-ins have values on the meta device.

    Attributes:
        values: node -> its value.
    """

    def __init__(self, inputs: Sequence[Tensor]) -> None:
        super().__init__()
        self.inputs = list(inputs)
        self.values: dict[Node, Any] = {}
        self.checked: set[tuple[Any, ...]] = set()
        self.is_computing = False
        self.names: dict[int, str] = {}
        self.sizes: dict[Any, Node] = {}

    def create_args_for_root(
        self, root_fn: Any, is_module: bool, concrete_args: Any = None
    ) -> tuple[Any, list[Any]]:
        """Return the forward function and its first arguments; others take their defaults."""
        tensors = [*self.root.named_parameters(), *self.root.named_buffers()]
        self.names = {id(tensor): name for name, tensor in reversed(tensors)}
        code = root_fn.__code__
        names = code.co_varnames[1 : code.co_argcount]
        inputs = [
            self.create_proxy(
                "placeholder", names[position] if position < len(names) else f"x{position}", (), {}
            )
            for position in range(len(self.inputs))
        ]

        def forward(*args: Any) -> Any:
            with (
                torch.no_grad(),
                accept_stand_ins(self.call_module),
                record_int_calls(self.root),
                _Creations(self),
            ):
                return root_fn(*args)

        return forward, [self.root, *inputs]

    def create_proxy(
        self, kind: str, target: Any, args: Any, kwargs: Any, *_: Any, **__: Any
    ) -> Any:
        """Record a call; return a stand-in for its result, or the result if it is no tensor."""
        args, kwargs = self.create_arg(args), self.create_arg(kwargs)
        key = (kind, target, args, tuple(kwargs.items()))
        node = self.sizes.get(key) if _is_hashable(key) else None
        if node is None:
            node = super().create_proxy(kind, target, args, kwargs).node
            with self._computing():
                self.values[node] = self._compute(node)
        value = self.values[node]
        if (
            isinstance(value, Tensor | tuple | list | torch.device)
            and type(value) is not torch.Size
        ):
            return ValueProxy(node, self)
        if _is_hashable(key):
            self.sizes[key] = node
        if isinstance(value, torch.Size):
            return tuple(make_number(self, size, (node, axis)) for axis, size in enumerate(value))
        if isinstance(value, int | float) and not isinstance(value, bool):
            return make_number(self, value, node)
        return value

    def create_arg(self, a: Any) -> Any:
        """Return a value in the form in which it is an argument of a node."""
        if isinstance(a, Number | Node):
            return a if isinstance(a, Node) else a.node
        if isinstance(a, np.generic | np.ndarray):
            return a.tolist()
        argument: Any = super().create_arg(a)
        if isinstance(a, Tensor):  # a tensor that is no parameter or buffer
            self.values[argument] = a.to("meta")
        return argument

    def call_module(self, m: nn.Module, forward: Any, args: Any, kwargs: Any) -> Any:
        """Record the call of a layer, or run a module of the user."""
        is_created = m not in (self.submodule_paths or {})  # by the forward function
        if self.is_computing or is_created:
            return forward(*args, **kwargs)
        return super().call_module(m, forward, args, kwargs)

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        """Return a stand-in for a parameter or buffer, and any other attribute as it is."""
        name = self.names.get(id(attr_val))
        if self.is_computing or name is None:
            return attr_val
        if name not in parameter_proxy_cache:
            parameter_proxy_cache[name] = self.create_proxy("get_attr", name, (), {})
        return parameter_proxy_cache[name]

    def check(self, comparison: str, number: Number, other: Any) -> None:
        """Record that the network is traced for inputs of which a comparison holds."""
        function = getattr(operator, comparison)
        operands = (number.node, self.create_arg(other))
        if (comparison, *operands) in self.checked:
            return
        self.checked.add((comparison, *operands))
        condition = self.create_node("call_function", function, operands, {})
        message = (
            f"the network decides on the size of its input{calling_user_line()}, "
            "and was traced for another size"
        )
        verdict = self.create_node("call_function", torch._assert, (condition, message), {})
        self.values |= {condition: True, verdict: None}

    def drop_unread_numbers(self) -> None:
        """Remove nodes that compute no tensor and that nothing reads."""
        for node in reversed(self.graph.nodes):
            is_kept = node.op in ("placeholder", "output") or node.target is torch._assert
            if (
                not is_kept
                and not node.users
                and (node.op == "get_attr" or not isinstance(self.values[node], Tensor))
            ):
                self.graph.erase_node(node)

    @contextmanager
    def _computing(self) -> Iterator[None]:
        self.is_computing = True
        try:
            with torch.device("meta"), patch.object(builtins, "range", plain_range):
                yield
        finally:
            self.is_computing = False

    def _compute(self, node: Node) -> Any:
        """Return the value of a node from those of its arguments."""
        if node.op == "placeholder":
            return self.inputs[len(self.values)]
        if node.op == "get_attr":
            return operator.attrgetter(str(node.target))(self.root)
        args, kwargs = map_arg((node.args, node.kwargs), self.values.__getitem__)
        if node.op == "call_module":
            return self.root.get_submodule(str(node.target))(*args, **kwargs)
        if node.op == "call_method":
            return getattr(args[0], str(node.target))(*args[1:], **kwargs)
        return node.target(*args, **kwargs)  # type: ignore[operator]


class _Creations(TorchFunctionMode):
    """Records calls that create tensors, or compute with tensors that are no stand-ins."""

    def __init__(self, tracer: ShapeTracer) -> None:
        super().__init__()
        self.tracer = tracer

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if not self.tracer.is_computing:
            if func in FACTORIES:
                return self.tracer.create_proxy("call_function", func, args, kwargs)
            if any(isinstance(arg, Tensor) for arg in args) and func.__name__ not in PASSED_OVER:
                is_method = is_tensor_method_or_property(func)
                target = func.__name__ if is_method else func
                kind = "call_method" if is_method else "call_function"
                return self.tracer.create_proxy(kind, target, args, kwargs)
        return func(*args, **kwargs)


def _is_hashable(key: tuple[Any, ...]) -> bool:
    try:
        hash(key)
    except TypeError:
        return False
    return True
