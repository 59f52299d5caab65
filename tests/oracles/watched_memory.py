"""Peak memory by running: an oracle that shares no code with the memory model in bench/memory.

It implements both conventions of peak memory, "planned" and "eager", as bench/memory/liveness.py
and the operator table state them, with another mechanism. Nothing is traced and no liveness is
computed on shapes: the network runs, and the bytes are those of real storages that weak references
find alive.

1. Record. The network runs once and its operators are recorded on a tape.
2. Replay. An executor runs the tape and drops each value right after its last reader, so that no
   Python frame holds anything.
     Eager    calls each operator as written. A dispatch mode hands every storage that ATen
              allocates to the watch.
     Planned  holds only the memory of each value: `Value` = the storages it lies in, and which of
              their elements it consists of. A view (concat and PixelShuffle too) is a new Value in
              old storages; an elementwise operator writes into the storages of an operand if they
              are not read later. The operators themselves run on temporary copies that are not
              watched. Weights are Values too, in storages that are not watched and never written.
3. After each operator that allocated its output, the watch adds up the storages that are still
   alive: one time step. For a convolution of "eager" it also does so after each ATen call in it,
   and the most counts.

Both executors must end with the network's own output: a plan that destroys a value that is still
needed does not pass.
"""

from collections.abc import Callable, Iterable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from tests.oracles.tape import Op, Ref, Tape, numbers, tensors

Shape = tuple[int, ...]
COPYING_VIEWS = {
    "cat",
    "concat",
    "concatenate",
    "pixel_shuffle",
    "pixel_unshuffle",
    "PixelShuffle",
    "PixelUnshuffle",
}
POINTWISE_WITHOUT_TAG = {
    *(
        "aten::_prelu_kernel",
        "aten::hardswish",
        "aten::hardswish_",
        "aten::mish_",
        "aten::threshold_",
        "aten::log_sigmoid_forward",
    ),
    *("aten::rrelu_with_noise", "aten::rrelu_with_noise_"),  # without noise in eval mode
}
PADDING_LAYERS = {"Conv2d", "ConvTranspose2d"}
COPIES = {"aten::clone"}  # tagged as pointwise, but called for its copy


class Watch:
    """Storages by weak reference, so that none is kept alive.

    Args:
        constants: tensors whose storages are not counted.
    """

    def __init__(self, constants: Iterable[Tensor]) -> None:
        self.constants = {StorageWeakRef(tensor.untyped_storage()) for tensor in constants}
        self.bytes: dict[StorageWeakRef, int] = {}

    def add(self, tensor: Tensor) -> None:
        """Watch the storage of a tensor."""
        storage = tensor.untyped_storage()
        if (ref := StorageWeakRef(storage)) not in self.constants:
            self.bytes.setdefault(ref, storage.nbytes())

    def live_bytes(self) -> int:
        """Return the bytes of all watched storages that are alive."""
        return sum(size for storage, size in self.bytes.items() if not storage.expired())


class Calls(TorchDispatchMode):
    """Sees every ATen call of one operator.

    Args:
        made: called with each resulting tensor.
    """

    def __init__(self, made: Callable[[Tensor], None] = lambda tensor: None) -> None:
        super().__init__()
        self.made, self.mutates, self.pointwise = made, False, []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in tensors(out):
            self.made(tensor)
        if not func.is_view and not func.name().startswith("aten::empty"):
            self.mutates |= func._schema.is_mutable
            self.pointwise.append(is_pointwise(func, args))
        return out


def is_pointwise(func: Any, args: Any) -> bool:
    """Return whether an ATen call computes each element from those at the same position.

    BatchNorm does if its statistics are given.
    """
    if func.name() == "aten::native_batch_norm":
        return args[5] is False
    return func.name() in POINTWISE_WITHOUT_TAG or (
        torch.Tag.pointwise in func.tags and func.name() not in COPIES
    )


class Eager:
    """Runs the operators of a tape as written.

    Attributes:
        last_use: number of a value -> index of the last operator that reads it.
        inside: the most bytes that were alive inside the last convolution.
        values: number -> value, those that are still needed.
    """

    def __init__(self, tape: Tape, watch: Watch) -> None:
        self.ops, self.watch, self.inside = tape.ops, watch, 0
        self.last_use = {number: now for now, op in enumerate(tape.ops) for number in op.reads()}
        self.last_use |= dict.fromkeys(numbers(tape.result), len(tape.ops))
        self.values: dict[int, Any] = {
            number: self.constant(tensor) for number, tensor in tape.constants.items()
        }

    def run(self, inputs: list[Tensor]) -> list[tuple[str, int]]:
        """Replay the tape; return (operator, live bytes) of each time step.

        It runs on copies of the inputs that nothing else holds; an input without readers is dropped
        at once.
        """
        steps = []
        for number, x in enumerate(inputs):
            if number in self.last_use:
                self.bind(Ref(number), x.clone())
        for now, op in enumerate(self.ops):
            # Operands live until the operator ends, also if its result replaces one of them.
            operands = list(self.values.values())
            if self.execute(op, now):
                steps.append((op.name, max(self.inside, self.watch.live_bytes())))
            del operands
            self.values = {
                number: value
                for number, value in self.values.items()
                if self.last_use.get(number, -1) > now
            }
        return steps

    def bind(self, refs: Any, results: Any) -> None:
        """Store results under the numbers of their Refs."""
        pairs = zip(tree_leaves(refs), tree_leaves(results), strict=True)
        self.values.update(
            {ref.number: self.hold(tensor) for ref, tensor in pairs if isinstance(ref, Ref)}
        )

    def hold(self, tensor: Tensor) -> Any:
        """Watch a result; return what is stored for it."""
        self.watch.add(tensor)
        return tensor

    def constant(self, tensor: Tensor) -> Any:
        """Return what is stored for a weight or buffer."""
        return tensor

    def read(self, number: int) -> Tensor:
        """Return the value of a number."""
        return self.values[number]

    def execute(self, op: Op, now: int) -> bool:
        """Run one operator; return whether it allocated its output."""
        before = set(self.watch.bytes) | self.watch.constants
        self.inside = 0

        def watch_made(tensor: Tensor) -> None:
            self.watch.add(tensor)
            if op.kind in PADDING_LAYERS:
                self.inside = max(self.inside, self.watch.live_bytes())

        with Calls(made=watch_made):
            out = op.run(self.values)
        self.bind(op.out, out)
        return any(
            StorageWeakRef(tensor.untyped_storage()) not in before for tensor in tensors(out)
        )


@dataclass(frozen=True, eq=False)
class Value:
    """A tensor as its memory: element e is element indices[e] of the concatenated flat storages.

    `indices` is contiguous, and so is the tensor that `read` returns: a reshape of it is a view.
    """

    storages: tuple[Tensor, ...]
    indices: Tensor

    def read(self) -> Tensor:
        """Return the tensor."""
        return torch.cat(self.storages)[self.indices]

    def overwrite(self, result: Tensor) -> "Value":
        """Write a result over the tensor."""
        memory = torch.cat(self.storages)
        memory[self.indices] = result
        for storage, part in zip(
            self.storages, memory.split([len(storage) for storage in self.storages]), strict=True
        ):
            storage.copy_(part)
        return self

    def is_injective(self) -> bool:
        """Return whether every element has its own memory location.

        That is not so if the value was expanded, or concatenated with itself.
        """
        return len(self.indices.unique()) == self.indices.numel()

    def indices_in(self, storages: list[Tensor]) -> Tensor:
        """Return the indices into a longer list of storages."""
        start = {
            id(storage): sum(len(other) for other in storages[:position])
            for position, storage in enumerate(storages)
        }
        return torch.cat(
            [start[id(storage)] + torch.arange(len(storage)) for storage in self.storages]
        )[self.indices]


class Planned(Eager):
    """Runs concat and PixelShuffle as views, and elementwise operators in place."""

    def __init__(self, tape: Tape, watch: Watch) -> None:
        self.weights: dict[int, Tensor] = {}  # by id; holds them, so that no id is used twice
        super().__init__(tape, watch)

    def hold(self, tensor: Tensor | Value) -> Value:
        if isinstance(tensor, Value):
            return tensor
        value = copy_to_own_storage(tensor)
        self.watch.add(value.storages[0])
        return value

    def constant(self, tensor: Tensor) -> Value:
        value = copy_to_own_storage(tensor)
        self.weights[id(value.storages[0])] = value.storages[0]
        return value

    def read(self, number: int) -> Tensor:
        return self.values[number].read()

    def execute(self, op: Op, now: int) -> bool:
        copies = {number: self.read(number) for number in op.reads()}
        own = {
            StorageWeakRef(tensor.untyped_storage()): number for number, tensor in copies.items()
        }
        with Calls() as calls:
            out = op.run(copies)
        made = {StorageWeakRef(tensor.untyped_storage()) for tensor in tensors(out)}
        if op.kind in COPYING_VIEWS:
            self.bind(op.out, self.view(op, op.reads()))
        elif made <= own.keys() and not calls.mutates:
            self.bind(op.out, self.view(op, [own[storage] for storage in made]))
        elif (
            calls.pointwise
            and all(calls.pointwise)
            and (operand := self.find_overwritable(op, out, now))
        ):
            self.bind(op.out, operand.overwrite(out))
        else:
            self.bind(op.out, out)
            return True
        return False

    def view(self, op: Op, sources: list[int]) -> Any:
        """Return the result of an operator as Values in the storages of its sources.

        The operator runs on the indices of the elements instead of the elements.
        """
        # The storages of the sources come first.
        operands = {number: self.values[number] for number in [*sources, *op.reads()]}
        storages = list_storages(operands.values())
        source_storages = tuple(list_storages(self.values[number] for number in sources))
        results = op.run(
            {number: value.indices_in(storages).double() for number, value in operands.items()}
        )
        return tree_map(
            lambda indices: Value(source_storages, indices.long().contiguous()), results
        )

    def find_overwritable(self, op: Op, out: Tensor, now: int) -> Value | None:
        """Return the first operand that the output may overwrite; None if there is none.

        It has the shape and type of the output, and its storages are not read later. After a write
        in place, later readers of the operand read the result.
        """
        others = [
            value
            for number, value in self.values.items()
            if self.last_use.get(number, -1) > now and number not in numbers(op.out)
        ]
        needed = {
            id(storage) for value in others for storage in value.storages
        } | self.weights.keys()
        for value in (self.values[number] for number in op.reads()):
            is_alike = value.indices.shape == out.shape and value.storages[0].dtype == out.dtype
            if (
                is_alike
                and value.is_injective()
                and needed.isdisjoint(id(storage) for storage in value.storages)
            ):
                return value
        return None


def list_storages(values: Iterable[Value]) -> list[Tensor]:
    """Return the storages of several values, each once."""
    return list({id(storage): storage for value in values for storage in value.storages}.values())


def copy_to_own_storage(tensor: Tensor) -> Value:
    """Return a copy of a tensor, as memory."""
    storage = tensor.clone(memory_format=torch.contiguous_format).flatten()
    return Value((storage,), torch.arange(len(storage)).view(tensor.shape))


@torch.no_grad()
def watch(
    model: nn.Module, shape: Shape | tuple[Shape, ...], convention: str
) -> list[tuple[str, int]]:
    """Run a network under a convention; return (operator, live bytes) of each time step, in order.

    Args:
        model: the network; it is not changed.
        shape: of its input, or of its inputs.
        convention: "planned" or "eager".
    """
    model = deepcopy(model).eval()
    shapes = shape if isinstance(shape[0], tuple) else (shape,)
    dtype = next((weight.dtype for weight in model.parameters()), torch.float32)
    generator = torch.Generator().manual_seed(0)
    inputs = [torch.rand(size, generator=generator, dtype=dtype) for size in shapes]
    expected = model(*(x.clone() for x in inputs))
    tape = Tape(model, [x.clone() for x in inputs])
    constants = [*model.parameters(), *model.buffers(), *tape.constants.values()]
    executor = {"eager": Eager, "planned": Planned}[convention](tape, Watch(constants))
    tape.known.clear()
    steps = executor.run(inputs)
    restored = tree_map(
        lambda ref: executor.read(ref.number) if isinstance(ref, Ref) else ref, tape.result
    )
    torch.testing.assert_close(tensors(restored), tensors(expected), rtol=1e-3, atol=1e-3)
    return steps
