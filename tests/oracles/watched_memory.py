"""Peak memory by running: an oracle that shares no code and no mechanism with the ruler in bench/memory.

Specification: both conventions of peak memory, "planned" and "eager", as the ruler's header states them. Here nothing is traced and no
liveness is computed on shapes: the network runs, and the bytes are those of real storages that weak references find alive.

1. Record. The network runs once and its operators go on a tape.
2. Replay. An executor runs the tape and drops each value right after its last reader, so that no Python frame holds anything.
     Eager    calls each operator as written. A dispatch mode hands every storage that ATen allocates to the watch.
     Planned  holds no value but its memory: `Value` = the storages it lies in, and which elements of them it is. A view (concat and
              PixelShuffle too) is a new Value in old storages; an elementwise operator writes into an operand's storages when nobody
              reads them later. What an operator gets to see is a temporary copy that is not watched.
3. After each operator that allocated its output the watch adds up the storages that are still alive: one time step.

Both executors must end with the network's own output: a plan that destroys a value that is still needed does not pass.
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

COPYING_VIEWS = {"cat", "concat", "concatenate", "pixel_shuffle", "pixel_unshuffle", "PixelShuffle", "PixelUnshuffle"}
POINTWISE_WITHOUT_TAG = {"aten::_prelu_kernel", "aten::hardswish", "aten::hardswish_", "aten::log_sigmoid_forward"}


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
        if not func.is_view:
            self.mutates |= func._schema.is_mutable
            normalises_by_constants = func.name() == "aten::native_batch_norm" and args[5] is False
            self.pointwise.append(torch.Tag.pointwise in func.tags or func.name() in POINTWISE_WITHOUT_TAG or normalises_by_constants)
        return out


class Eager:
    """Runs the operators as written."""

    def __init__(self, tape: Tape, watch: Watch) -> None:
        self.ops, self.watch = tape.ops, watch
        self.last_use = {number: now for now, op in enumerate(tape.ops) for number in op.reads()}
        self.last_use |= dict.fromkeys(numbers(tape.result), len(tape.ops))
        self.values: dict[int, Any] = {}

    def run(self, x: Tensor) -> list[tuple[str, int]]:
        """Replays the tape on a copy of `x` that nobody else holds."""
        steps = []
        self.bind(Ref(0), x.clone())
        for now, op in enumerate(self.ops):
            if self.execute(op, now):
                steps.append((op.name, self.watch.live_bytes()))
            self.values = {number: value for number, value in self.values.items() if self.last_use.get(number, -1) > now}
        return steps

    def bind(self, refs: Any, made: Any) -> None:
        pairs = zip(tree_leaves(refs), tree_leaves(made), strict=True)
        self.values.update({ref.number: self.hold(tensor) for ref, tensor in pairs if isinstance(ref, Ref)})

    def hold(self, tensor: Tensor) -> Any:
        self.watch.add(tensor)
        return tensor

    def read(self, number: int) -> Tensor:
        return self.values[number]

    def execute(self, op: Op, now: int) -> bool:
        """Runs one operator; tells whether it allocated its output."""
        before = set(self.watch.bytes) | self.watch.constants
        with Calls(made=self.watch.add):
            out = op.run(self.values)
        self.bind(op.out, out)
        return any(StorageWeakRef(tensor.untyped_storage()) not in before for tensor in tensors(out))


@dataclass(frozen=True, eq=False)
class Value:
    """A tensor as its memory: element e is element where[e] of the flat storages laid end to end."""

    storages: tuple[Tensor, ...]
    where: Tensor

    def read(self) -> Tensor:
        return torch.cat(self.storages)[self.where]

    def overwrite(self, result: Tensor) -> "Value":
        memory = torch.cat(self.storages)
        memory[self.where] = result
        for storage, part in zip(self.storages, memory.split([len(storage) for storage in self.storages]), strict=True):
            storage.copy_(part)
        return self

    def within(self, storages: list[Tensor]) -> Tensor:
        """`where`, counted in a longer row of storages."""
        start = {id(storage): sum(len(other) for other in storages[:place]) for place, storage in enumerate(storages)}
        return torch.cat([start[id(storage)] + torch.arange(len(storage)) for storage in self.storages])[self.where]


class Planned(Eager):
    """Runs the same operators with views for concat and PixelShuffle and with elementwise operators in place."""

    def hold(self, tensor: Tensor | Value) -> Value:
        if isinstance(tensor, Value):
            return tensor
        storage = tensor.clone(memory_format=torch.contiguous_format).flatten()
        self.watch.add(storage)
        return Value((storage,), torch.arange(len(storage)).view(tensor.shape))

    def read(self, number: int) -> Tensor:
        return self.values[number].read()

    def execute(self, op: Op, now: int) -> bool:
        copies = {number: self.read(number) for number in op.reads()}
        own = {StorageWeakRef(tensor.untyped_storage()) for tensor in copies.values()}
        with Calls() as calls:
            out = op.run(copies)
        in_copy = all(StorageWeakRef(tensor.untyped_storage()) in own for tensor in tensors(out))
        if op.kind in COPYING_VIEWS or (in_copy and not calls.mutates):
            self.bind(op.out, self.view(op))
        elif calls.pointwise and all(calls.pointwise) and (operand := self.overwritable(op, out, now)):
            self.bind(op.out, operand.overwrite(out))
        else:
            self.bind(op.out, out)
            return True
        return False

    def view(self, op: Op) -> Any:
        """The operator runs on the places of the elements instead of the elements."""
        read = {number: self.values[number] for number in op.reads()}
        storages = list({id(storage): storage for value in read.values() for storage in value.storages}.values())
        places = op.run({number: value.within(storages).double() for number, value in read.items()})
        return tree_map(lambda place: Value(tuple(storages), place.long()), places)

    def overwritable(self, op: Op, out: Tensor, now: int) -> Value | None:
        """The first operand like the output whose storages nobody reads later; in place, later readers read the result instead."""
        others = [value for number, value in self.values.items() if self.last_use.get(number, -1) > now and number not in numbers(op.out)]
        needed = {id(storage) for value in others for storage in value.storages}
        for value in (self.values[number] for number in op.reads()):
            like = value.where.shape == out.shape and value.storages[0].dtype == out.dtype
            if like and needed.isdisjoint(id(storage) for storage in value.storages):
                return value
        return None


@torch.no_grad()
def watch(model: nn.Module, shape: tuple[int, ...], convention: str) -> list[tuple[str, int]]:
    """Runs the network on an input of `shape` and returns (operator, live bytes) of each time step, in order."""
    model = deepcopy(model).eval()
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(shape, generator=generator)
    expected = model(x.clone())
    tape = Tape(model, x.clone())
    constants = [*model.parameters(), *model.buffers(), *(leaf for op in tape.ops for leaf in tensors((op.args, op.kwargs)))]
    executor = {"eager": Eager, "planned": Planned}[convention](tape, Watch(constants))
    tape.known.clear()
    steps = executor.run(x)
    restored = [executor.read(number) for number in numbers(tape.result)]
    torch.testing.assert_close(restored, tensors(expected))
    return steps
