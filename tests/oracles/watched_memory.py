"""Peak memory by running: an oracle that shares no code and no mechanism with the ruler in bench/memory.

Specification: both conventions of peak memory, "planned" and "eager", as the ruler's header states
them. Here nothing is traced and no liveness is computed on shapes: the network runs, and the bytes
are those of real storages that weak references find alive.

1. Record. The network runs once and its operators go on a tape.
2. Replay. An executor runs the tape and drops each value right after its last reader, so that no Python frame holds anything.
     Eager    calls each operator as written. A dispatch mode hands every storage that ATen allocates to the watch.
     Planned  holds no value but its memory: `Value` = the storages it lies in, and which elements of them it is. A view (concat and
              PixelShuffle too) is a new Value in old storages; an elementwise operator writes into an operand's storages when nobody
              reads them later. What an operator gets to see is a temporary copy that is not watched. Weights are Values too, in
              storages that are not watched and never written.
3. After each operator that allocated its output the watch adds up the storages that are still alive: one time step.

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
COPIES = {"aten::clone"}  # tagged as pointwise, but asked for because of the copy


class Watch:
    """Storages by weak reference: it keeps nothing alive. Those of `constants` are not counted."""

    def __init__(self, constants: Iterable[Tensor]) -> None:
        self.constants = {StorageWeakRef(tensor.untyped_storage()) for tensor in constants}
        self.bytes: dict[StorageWeakRef, int] = {}

    def add(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        if (ref := StorageWeakRef(storage)) not in self.constants:
            self.bytes.setdefault(ref, storage.nbytes())

    def live_bytes(self) -> int:
        return sum(size for storage, size in self.bytes.items() if not storage.expired())


class Calls(TorchDispatchMode):
    """Sees every ATen call of one operator."""

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
    """Whether an ATen call computes each element from those at the same place; BatchNorm does if its statistics are given."""
    if func.name() == "aten::native_batch_norm":
        return args[5] is False
    return func.name() in POINTWISE_WITHOUT_TAG or (
        torch.Tag.pointwise in func.tags and func.name() not in COPIES
    )


class Eager:
    """Runs the operators as written."""

    def __init__(self, tape: Tape, watch: Watch) -> None:
        self.ops, self.watch = tape.ops, watch
        self.last_use = {number: now for now, op in enumerate(tape.ops) for number in op.reads()}
        self.last_use |= dict.fromkeys(numbers(tape.result), len(tape.ops))
        self.values: dict[int, Any] = {
            number: self.constant(tensor) for number, tensor in tape.constants.items()
        }

    def run(self, inputs: list[Tensor]) -> list[tuple[str, int]]:
        """Replays the tape on copies of the inputs that nobody else holds; an input that nobody reads is let go of at once."""
        steps = []
        for number, x in enumerate(inputs):
            if number in self.last_use:
                self.bind(Ref(number), x.clone())
        for now, op in enumerate(self.ops):
            held = list(
                self.values.values()
            )  # what an operator reads is there to its end, also where its result replaces an operand
            if self.execute(op, now):
                steps.append((op.name, self.watch.live_bytes()))
            del held
            self.values = {
                number: value
                for number, value in self.values.items()
                if self.last_use.get(number, -1) > now
            }
        return steps

    def bind(self, refs: Any, made: Any) -> None:
        pairs = zip(tree_leaves(refs), tree_leaves(made), strict=True)
        self.values.update(
            {ref.number: self.hold(tensor) for ref, tensor in pairs if isinstance(ref, Ref)}
        )

    def hold(self, tensor: Tensor) -> Any:
        self.watch.add(tensor)
        return tensor

    def constant(self, tensor: Tensor) -> Any:
        return tensor

    def read(self, number: int) -> Tensor:
        return self.values[number]

    def execute(self, op: Op, now: int) -> bool:
        """Runs one operator; tells whether it allocated its output."""
        before = set(self.watch.bytes) | self.watch.constants
        with Calls(made=self.watch.add):
            out = op.run(self.values)
        self.bind(op.out, out)
        return any(
            StorageWeakRef(tensor.untyped_storage()) not in before for tensor in tensors(out)
        )


@dataclass(frozen=True, eq=False)
class Value:
    """A tensor as its memory: element e is element where[e] of the flat storages laid end to end.

    `where` is contiguous, and so is what is read: a reshape of it is a view.
    """

    storages: tuple[Tensor, ...]
    where: Tensor

    def read(self) -> Tensor:
        return torch.cat(self.storages)[self.where]

    def overwrite(self, result: Tensor) -> "Value":
        memory = torch.cat(self.storages)
        memory[self.where] = result
        for storage, part in zip(
            self.storages, memory.split([len(storage) for storage in self.storages]), strict=True
        ):
            storage.copy_(part)
        return self

    def is_injective(self) -> bool:
        """Whether every element has a place of its own: not so where a value was expanded, or joined with itself."""
        return len(self.where.unique()) == self.where.numel()

    def within(self, storages: list[Tensor]) -> Tensor:
        """`where`, counted in a longer row of storages."""
        start = {
            id(storage): sum(len(other) for other in storages[:place])
            for place, storage in enumerate(storages)
        }
        return torch.cat(
            [start[id(storage)] + torch.arange(len(storage)) for storage in self.storages]
        )[self.where]


class Planned(Eager):
    """Runs the same operators with views for concat and PixelShuffle and with elementwise operators in place."""

    def __init__(self, tape: Tape, watch: Watch) -> None:
        self.weights: dict[int, Tensor] = {}  # by id; holds them, so that no id is used twice
        super().__init__(tape, watch)

    def hold(self, tensor: Tensor | Value) -> Value:
        if isinstance(tensor, Value):
            return tensor
        value = in_own_storage(tensor)
        self.watch.add(value.storages[0])
        return value

    def constant(self, tensor: Tensor) -> Value:
        value = in_own_storage(tensor)
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
            and (operand := self.overwritable(op, out, now))
        ):
            self.bind(op.out, operand.overwrite(out))
        else:
            self.bind(op.out, out)
            return True
        return False

    def view(self, op: Op, sources: list[int]) -> Any:
        """The operator runs on the places of the elements instead of the elements; the result lies where its sources lie."""
        first = {
            number: self.values[number] for number in [*sources, *op.reads()]
        }  # the sources' storages come first
        storages = list(
            {
                id(storage): storage for value in first.values() for storage in value.storages
            }.values()
        )
        lies_in = tuple(
            {
                id(storage): storage
                for number in sources
                for storage in self.values[number].storages
            }.values()
        )
        places = op.run(
            {number: value.within(storages).double() for number, value in first.items()}
        )
        return tree_map(lambda place: Value(lies_in, place.long().contiguous()), places)

    def overwritable(self, op: Op, out: Tensor, now: int) -> Value | None:
        """The first operand like the output whose storages nobody reads later; in place, later readers read the result instead."""
        others = [
            value
            for number, value in self.values.items()
            if self.last_use.get(number, -1) > now and number not in numbers(op.out)
        ]
        needed = {
            id(storage) for value in others for storage in value.storages
        } | self.weights.keys()
        for value in (self.values[number] for number in op.reads()):
            like = value.where.shape == out.shape and value.storages[0].dtype == out.dtype
            if (
                like
                and value.is_injective()
                and needed.isdisjoint(id(storage) for storage in value.storages)
            ):
                return value
        return None


def in_own_storage(tensor: Tensor) -> Value:
    """A copy of a tensor, as memory."""
    storage = tensor.clone(memory_format=torch.contiguous_format).flatten()
    return Value((storage,), torch.arange(len(storage)).view(tensor.shape))


@torch.no_grad()
def watch(
    model: nn.Module, shape: Shape | tuple[Shape, ...], convention: str
) -> list[tuple[str, int]]:
    """Runs the network on an input of `shape`, or on several; returns (operator, live bytes) of each time step, in order."""
    model = deepcopy(model).eval()
    shapes = shape if isinstance(shape[0], tuple) else (shape,)
    dtype = next((weight.dtype for weight in model.parameters()), torch.float32)
    generator = torch.Generator().manual_seed(0)
    inputs = [torch.rand(each, generator=generator, dtype=dtype) for each in shapes]
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
