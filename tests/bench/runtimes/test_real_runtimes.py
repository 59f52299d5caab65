"""Every runtime that is installed, on real networks: outputs, plans, and the plans as an oracle.

The foreign oracle knows nothing of our graph. Where the most bytes that are alive in its plan
differ from ours, a rule says why:

    as eager             a concat is copied, and nothing is overwritten that the code does not
    between              onnxsim overwrites where only one operator reads, and copies a concat
    written out          exporters know no operators in place, so there is more than in "eager"
    dead code            exporters drop what no output needs; PyTorch, and we, run it
    parts copied or      exporters copy the parts of a split or a slice, so that the rest is freed;
    pad folded           for us they are views, which keep all of it. They give the zeros of a pad
                         to the convolution after it
    gaps                 beside these: buffers at fixed offsets leave gaps, and sizes are rounded up
"""

from collections import Counter

import pytest
from torch import nn

from bench.contract import Budget
from bench.errors import ConfigError
from bench.graph.ir import Graph
from bench.graph.lowering import trace
from bench.memory.profile import peak_memory
from bench.runner.measure import measure_network
from bench.runtimes.registry import PLANNERS, RUNTIMES, installed_runtimes, load_planner
from bench.runtimes.runtime import MemoryPlan
from bench.surgery.analysis import analyse_network
from bench.surgery.remove import remove_channels
from tasks.models.edsr import EDSR
from tasks.models.nafnet import NAFNet
from tasks.models.res_unet import ResUNet
from tasks.models.restormer import Restormer
from tests.networks.generated import generate_network
from tests.networks.programs import Program
from tests.networks.small import draw_kept, network_layout, unet

pytestmark = pytest.mark.slow
BACKBONES = {
    "unet": lambda: unet(16),
    "unet with compactors": lambda: unet(16, compactors=True),
    "res_unet": lambda: ResUNet(8),
    "edsr": lambda: EDSR(),
    "nafnet": lambda: NAFNet(),
    "restormer": lambda: Restormer(),
}
LARGER = (1, 3, 64, 64)
DRAWS = 20
NETWORKS = 200
PARTS_AND_PADS = ("chunk", "split", "getitem", "narrow", "pad")


@pytest.fixture(params=RUNTIMES)
def runtime(request: pytest.FixtureRequest) -> str:
    if request.param not in installed_runtimes():
        pytest.skip(f"needs pip install 'prunebench[{request.param}]'")
    return request.param


@pytest.fixture(params=PLANNERS)
def planner(request: pytest.FixtureRequest) -> str:
    if request.param not in installed_runtimes():
        pytest.skip(f"needs pip install 'prunebench[{request.param}]'")
    return request.param


def test_a_runtime_computes_the_same_and_needs_at_least_what_is_planned(runtime: str) -> None:
    measured = measure_network(unet(8), LARGER, runtime)
    assert measured["peak_bytes"] >= 0.95 * peak_memory(unet(8), LARGER)
    assert RUNTIMES[runtime].title in measured["on"]


def test_mnn_takes_what_is_planned_for_multiples_of_eight_and_no_less_for_widths_between() -> None:
    if "mnn" not in installed_runtimes():
        pytest.skip("needs pip install 'prunebench[mnn]'")
    peaks = {}
    for width in (5, 8, 16):
        ends = ((3, width), (width, width), (width, 3))
        chain = nn.Sequential(*(nn.Conv2d(*each, 3, padding=1) for each in ends))
        peaks[width] = measure_network(chain, LARGER, "mnn")["peak_bytes"]
    image_bytes = 4 * 64 * 64
    assert peaks[16] == pytest.approx(2 * 16 * image_bytes, rel=0.02)
    assert peaks[8] == pytest.approx(2 * 8 * image_bytes, rel=0.02)
    assert peaks[5] == pytest.approx(peaks[8], rel=0.02)


@pytest.mark.parametrize("name", BACKBONES)
def test_widths_foretell_the_plan_of_every_backbone(name: str, planner: str) -> None:
    network = BACKBONES[name]().eval()
    model = analyse_network(network, Budget(1, LARGER, planner)).peak_model
    layout = network_layout(network)
    for seed in range(DRAWS):
        kept = draw_kept(layout, seed)
        smaller = remove_channels(network, kept, LARGER)
        planned = peak_memory(smaller, LARGER, planner)
        widths = {unit: len(indices) for unit, indices in kept.items()}
        assert planned <= model.peak_bytes(widths) <= 1.02 * planned


def live_bytes(plan: MemoryPlan) -> int:
    """Return the largest sum of live tensors of a plan, without gaps."""
    return max(
        sum(
            {
                tensor.place: tensor.size_bytes
                for tensor in plan.tensors
                if tensor.birth <= position <= tensor.death
            }.values()
        )
        for position in {tensor.birth for tensor in plan.tensors}
    )


def explain(network: Program, live: int, planned: int, eager: int) -> str:
    """Return the rule by which the live bytes of a foreign plan differ from ours."""
    if live in (planned, eager):
        return "as planned" if live == planned else "as eager"
    if has_dead_code(trace(network, network.shape)):
        return "dead code"
    if live > planned:
        return "between" if live < eager else "written out"
    names = [op.name for op in trace(network, network.shape).ops]
    has_cause = any(name.startswith(PARTS_AND_PADS) for name in names)
    return "parts copied or pad folded" if has_cause else "not explained"


def has_dead_code(graph: Graph) -> bool:
    """Return whether no output needs the result of an operator."""
    needed = set(graph.outputs)
    for op in reversed(graph.ops):
        if not needed & set(op.makes):
            return True
        needed |= set(op.reads)
    return False


def test_a_foreign_planner_differs_from_ours_for_known_reasons(planner: str) -> None:
    causes: Counter[str] = Counter()
    for seed in range(NETWORKS):
        network = generate_network(seed)
        try:
            plan = load_planner(planner).plan(network, network.shape)
        except ConfigError:
            causes["not taken"] += 1
            continue
        planned, eager = (
            peak_memory(network, network.shape, convention) for convention in ("planned", "eager")
        )
        live = live_bytes(plan)
        assert live <= plan.peak_bytes
        causes["gaps"] += plan.peak_bytes > live
        causes[explain(network, live, planned, eager)] += 1
    print(planner, dict(causes))
    assert causes["not taken"] < NETWORKS / 4
    assert not causes["not explained"]
