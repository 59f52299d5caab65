"""Hostile descriptions: each is refused in one line, runs no code and takes no memory."""

import inspect
import json
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench.errors import ConfigError
from bench.export.allowlist import LAYER_CLASSES
from bench.export.bundle import load, save
from bench.export.graph_spec import describe_network, weights_for
from bench.export.layers import build_layer
from bench.export.rebuild import rebuild_network
from bench.files import checked_json
from bench.files.hashing import checksum

Spec = dict[str, Any]


class Net(nn.Module):
    """A network with a layer, a function, a method, an attribute and a parameter of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)
        self.scale = nn.Parameter(torch.rand(1))

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) -> (N, 3, H, W)."""
        return torch.relu(self.conv(x)).view(x.shape) * self.scale


def change_node(spec: Spec, kind: str, **changes: Any) -> None:
    """Change the first node of a kind."""
    next(node for node in spec["nodes"] if node["op"] == kind).update(changes)


def nest(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def swap_nodes(spec: Spec) -> None:
    spec["nodes"][1], spec["nodes"][2] = spec["nodes"][2], spec["nodes"][1]


def duplicate_node(spec: Spec) -> None:
    spec["nodes"].insert(1, spec["nodes"][1])


def move_layer(spec: Spec, path: str) -> None:
    """Give the layer another path."""
    spec["layers"][path] = spec["layers"].pop("conv")


CODE = "x = __import__('os').system('true')"
HOSTILE: dict[str, tuple[Callable[[Spec], Any], str]] = {
    "no description": (lambda spec: spec.clear(), "should have name"),
    "another version": (lambda spec: spec.update(version=2), "is of version 2"),
    "a function of another module": (
        lambda spec: change_node(spec, "call_function", target="os.system"),
        "names 'os.system'",
    ),
    "an import": (
        lambda spec: change_node(spec, "call_function", target="__import__"),
        "names '__import__'",
    ),
    "eval": (
        lambda spec: change_node(spec, "call_function", target="builtins.eval"),
        "names 'builtins.eval'",
    ),
    "torch.load": (
        lambda spec: change_node(spec, "call_function", target="torch.load"),
        r"names 'torch\.load'",
    ),
    "a hidden method": (
        lambda spec: change_node(spec, "call_method", target="__reduce_ex__"),
        "names '__reduce_ex__'",
    ),
    "a method by a path": (
        lambda spec: change_node(spec, "call_method", target="data.numpy"),
        r"names 'data\.numpy'",
    ),
    "a method of a string": (
        lambda spec: change_node(spec, "call_method", args=["text"]),
        "on a value that no operator made",
    ),
    "a hidden attribute": (
        lambda spec: change_node(
            spec, "call_function", target="builtins.getattr", args=[{"node": "x"}, "__class__"]
        ),
        "the attribute '__class__' is read",
    ),
    "an attribute that is a list": (
        lambda spec: change_node(
            spec, "call_function", target="builtins.getattr", args=[{"node": "x"}, ["shape"]]
        ),
        "the attribute a value of type list is read",
    ),
    "an attribute with a default": (
        lambda spec: change_node(
            spec, "call_function", target="builtins.getattr", args=[{"node": "x"}, "shape", 1]
        ),
        "the attribute 'shape' is read",
    ),
    "a layer that is none": (
        lambda spec: spec["layers"]["conv"].update({"class": "Module"}),
        "is of the class 'Module'",
    ),
    "a layer by a path": (
        lambda spec: spec["layers"]["conv"].update({"class": "modules.conv.Conv2d"}),
        "is of the class",
    ),
    "an argument of no layer": (
        lambda spec: spec["layers"]["conv"]["arguments"].update({CODE: 1}),
        "does not take",
    ),
    "an argument of the wrong type": (
        lambda spec: spec["layers"]["conv"]["arguments"].update(kernel_size="11"),
        "cannot be built",
    ),
    "an argument that is a value": (
        lambda spec: spec["layers"]["conv"]["arguments"].update(stride={"node": "x"}),
        "an argument of a layer names the value 'x'",
    ),
    "a huge layer": (
        lambda spec: spec["layers"]["conv"]["arguments"].update(
            in_channels=2**20, out_channels=2**20
        ),
        r"conv\.weight should be \(1048576, 1048576, 1, 1\), is \(3, 3, 1, 1\)",
    ),
    "a layer too large to count": (
        lambda spec: spec["layers"]["conv"]["arguments"].update(in_channels=2**62),
        "cannot be built",
    ),
    "a number with many bits": (
        lambda spec: spec["layers"]["conv"]["arguments"].update(padding=2**64),
        "more than 64 bits",
    ),
    "an unknown layer": (
        lambda spec: change_node(spec, "call_module", target="other"),
        "names 'other'",
    ),
    "a tensor of no path": (
        lambda spec: change_node(spec, "get_attr", target="conv.__class__"),
        r"names 'conv\.__class__'",
    ),
    "a tensor in place of a hidden attribute": (
        lambda spec: spec["tensors"].update(__class__="buffer"),
        "'__class__' is not allowed",
    ),
    "a layer in place of forward": (
        lambda spec: move_layer(spec, "forward"),
        "'forward' is not allowed in it",
    ),
    "a layer in place of its modules": (
        lambda spec: move_layer(spec, "a._modules"),
        "'_modules' is not allowed in it",
    ),
    "a layer whose path is code": (
        lambda spec: move_layer(spec, f'a", {CODE}'),
        "cannot have the path",
    ),
    "a layer far down": (
        lambda spec: move_layer(spec, ".".join("a" * 1_000_000)),
        "has 1000000 steps, more than 64",
    ),
    "a layer inside of another one": (
        lambda spec: spec["layers"].update({"conv.inner": spec["layers"]["conv"]}),
        "leads through another",
    ),
    "a value whose name is code": (
        lambda spec: change_node(spec, "call_function", name=CODE),
        "cannot be the name",
    ),
    "a value that hides torch": (
        lambda spec: change_node(spec, "placeholder", name="torch"),
        "'torch' cannot be the name",
    ),
    "a value with the name of a built-in": (
        lambda spec: change_node(spec, "call_function", name="print"),
        "'print', or has it twice",
    ),
    "an input whose name is code": (
        lambda spec: change_node(spec, "placeholder", target=f"x={CODE}"),
        "cannot be the name",
    ),
    "an argument whose name is code": (
        lambda spec: change_node(spec, "call_function", kwargs={f"out={CODE}, y": 1}),
        "is called with the argument",
    ),
    "a network whose name is code": (lambda spec: spec.update(name=CODE), "cannot be the name"),
    "an operator before what it reads": (swap_nodes, "is read before it is made"),
    "an operator that reads itself": (
        lambda spec: change_node(spec, "call_function", args=[{"node": "relu"}]),
        "'relu' is read before",
    ),
    "an operator twice": (duplicate_node, "has it twice"),
    "two inputs of one name": (
        lambda spec: spec["nodes"].insert(1, {**spec["nodes"][0], "name": "y"}),
        "two inputs have the name 'x'",
    ),
    "no operators": (lambda spec: spec["nodes"].clear(), "does not end with its output"),
    "no output": (lambda spec: spec["nodes"].pop(), "does not end with its output"),
    "an output in the middle": (
        lambda spec: spec["nodes"].append(spec["nodes"][1]),
        "'output', which is not allowed there",
    ),
    "an unknown kind of node": (
        lambda spec: change_node(spec, "call_method", op="exec"),
        "of the kind 'exec'",
    ),
    "a node that is a number": (lambda spec: spec["nodes"].insert(0, 7), "is 7, not an object"),
    "a value of no kind": (
        lambda spec: change_node(spec, "call_function", args=[{"object": "os"}]),
        "is not the JSON form of a value",
    ),
    "a type that is none": (
        lambda spec: change_node(spec, "call_function", kwargs={"out": {"dtype": "load"}}),
        "'load' is no dtype",
    ),
    "a slice of two": (
        lambda spec: change_node(spec, "call_function", args=[{"slice": [1, 2]}]),
        "three ends",
    ),
    "deep nesting": (
        lambda spec: change_node(spec, "call_function", args=[nest(100)]),
        "more than 16 deep",
    ),
    "nesting without end": (
        lambda spec: change_node(spec, "call_function", args=[nest(900)]),
        "more than 16 deep",
    ),
    "sharing with nothing": (
        lambda spec: spec["shared"].update({"conv.bias": "nothing"}),
        "cannot be the same tensor",
    ),
    "sharing in a circle": (
        lambda spec: spec["shared"].update({"conv.bias": "conv.bias"}),
        "cannot be the same tensor",
    ),
    "sharing of unlike tensors": (
        lambda spec: spec["shared"].update({"conv.bias": "conv.weight"}),
        r"conv\.bias' is not used by it",
    ),
    "a tensor of no kind": (
        lambda spec: spec["tensors"].update(scale=[]),
        "neither a parameter nor a buffer",
    ),
    "a missing weight": (lambda spec: spec["tensors"].update(other="buffer"), "'other' is missing"),
}


@pytest.fixture(scope="module")
def honest() -> tuple[Spec, dict[str, Tensor]]:
    """A description that is accepted, and its weights."""
    spec = describe_network(Net())
    weights = weights_for(Net())
    rebuild_network(spec, weights)
    return spec, weights


@pytest.mark.parametrize("name", HOSTILE)
def test_it_is_refused_in_one_line(name: str, honest: tuple[Spec, dict[str, Tensor]]) -> None:
    change, message = HOSTILE[name]
    spec = deepcopy(honest[0])
    change(spec)
    with pytest.raises(ConfigError, match=message) as caught:
        rebuild_network(spec, honest[1])
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300


@pytest.mark.parametrize("junk", [None, 7, "os.system", [], [[]], {}, {"node": "x"}, True])
def test_junk_in_any_place_is_refused_or_read_and_never_anything_else(
    junk: Any, honest: tuple[Spec, dict[str, Tensor]]
) -> None:
    paths = [(key,) for key in honest[0]] + [("nodes", 1, key) for key in honest[0]["nodes"][1]]
    paths += [
        ("layers", "conv"),
        ("layers", "conv", "class"),
        ("layers", "conv", "arguments"),
        ("shared", "scale"),
        ("nodes", 2),
    ]
    for *path, last in paths:
        spec = deepcopy(honest[0])
        target: Any = spec
        for step in path:
            target = target[step]
        target[last] = junk
        try:
            rebuild_network(spec, honest[1])
        except ConfigError as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize("name", LAYER_CLASSES)
def test_a_layer_takes_no_memory_however_large_its_numbers_are(name: str) -> None:
    """2**40 numbers would be 4 TiB."""
    first = {
        "kernel_size": 3,
        "in_features": 2**20,
        "out_features": 2**20,
        "num_embeddings": 2**20,
        "embedding_dim": 2**20,
        "in_channels": 2**20,
        "out_channels": 2**20,
    }
    huge = {
        "num_features": 2**40,
        "num_parameters": 2**40,
        "num_channels": 2**40,
        "num_groups": 1,
        "normalized_shape": [2**20, 2**20],
    }
    huge |= {"unflattened_size": {"tuple": [2**40]}}
    arguments = _select_arguments(name, first | huge | {"affine": True})
    layer = build_layer({"class": name, "arguments": arguments}, "layer")
    assert all(tensor.is_meta for tensor in [*layer.parameters(), *layer.buffers()])


def _select_arguments(name: str, offered: dict[str, Any]) -> dict[str, Any]:
    """Return the offered arguments that a class takes, and a number for each that it requires."""
    parameters = [
        parameter
        for parameter in inspect.signature(LAYER_CLASSES[name].__init__).parameters.values()
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD and parameter.name != "self"
    ]
    required = {
        parameter.name: 2**40 for parameter in parameters if parameter.default is parameter.empty
    }
    names = [parameter.name for parameter in parameters]
    return required | {name: offered[name] for name in names if name in offered}


def test_a_folder_with_a_hostile_description_is_refused(tmp_path) -> None:
    save(tmp_path, Net())
    honest = json.loads((tmp_path / "spec.json").read_text())
    del honest["checksum"]
    bomb = b'{"graph": ' + b"[" * 100_000 + b"]" * 100_000 + b', "sha256": ""}'
    number = checked_json.serialize(honest | {"graph": 7})
    damaged = checked_json.serialize(honest | {"sha256": checksum(b"")})
    newer = checked_json.serialize(honest | {"schema": 99})
    for text, message in (
        (bomb, "not a description"),
        (number, "is 7, not an object"),
        (damaged, "is damaged"),
        (b"[]", "not a JSON object"),
        (newer, r"by a newer prunebench \(schema 99, this one knows 1\); update"),
    ):
        (tmp_path / "spec.json").write_bytes(text)
        with pytest.raises(ConfigError, match=message):
            load(tmp_path)
