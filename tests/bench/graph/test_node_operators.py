"""The plan and the lean executor decide alike which operator a node is and whether it writes."""

from collections.abc import Callable

import pytest
from torch import nn

from bench.channels.written_form import write_out
from bench.contract import Inputs
from bench.graph.lowering import trace
from bench.graph.node_operators import find_operator
from bench.graph.operators import CALLS
from bench.graph.tracing import node_names, trace_module
from bench.lean.alias_analysis import AliasAnalysis
from tests.networks.generated import generate_network
from tests.networks.habits import HABITS
from tests.networks.habits import SHAPE as SMALL
from tests.networks.public import PUBLIC, input_shape
from tests.networks.refused import REFUSED

NETWORKS: dict[str, tuple[Callable[[], nn.Module], Inputs]] = {
    **{name: (make, input_shape(name)) for name, make in PUBLIC.items()},
    **{name: (make, SMALL) for name, make in HABITS.items()},
    **{name: (make, SMALL) for name, (make, stage) in REFUSED.items() if stage == "prune"},
}
SEEDS = range(0, 200, 20)


def assert_plan_and_executor_agree(network: nn.Module, shape: Inputs) -> None:
    """Without results, as the executor asks, x[index] counts as a view: memory may be shared."""
    traced = trace_module(write_out(network, shape))
    analysis = AliasAnalysis(traced, shape)
    nodes = {name: node for node, name in node_names(traced).items()}
    for op in trace(network, shape).ops:
        node = nodes[op.name]
        executed = find_operator(traced, node)
        assert find_operator(traced, node, analysis.results) is op.rule
        assert executed is op.rule or (executed, op.rule) == (CALLS["getitem"], CALLS["[tensor]"])
        assert analysis.writes_in_place(node) == op.written_in_place


@pytest.mark.parametrize("name", NETWORKS)
def test_plan_and_executor_agree_on_every_node(name: str) -> None:
    make, shape = NETWORKS[name]
    assert_plan_and_executor_agree(make().eval(), shape)


@pytest.mark.parametrize("seed", SEEDS)
def test_plan_and_executor_agree_on_every_node_of_a_random_network(seed: int) -> None:
    network = generate_network(seed)
    assert_plan_and_executor_agree(network, network.shape)
