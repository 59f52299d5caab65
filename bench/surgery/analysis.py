"""Analysis of a network before pruning: its units, and the bytes of their channels at each step."""

from dataclasses import dataclass, field

from torch import Tensor, nn

from bench.channels.multiples import Blocks, tie_slots
from bench.channels.units import Layout, channel_layout
from bench.contract import Budget, Kept, Widths
from bench.errors import Infeasible
from bench.graph.lowering import trace
from bench.memory.peak_model import PeakModel, peak_model_of_graph
from bench.runtimes.registry import PLANNERS
from bench.surgery.importance import channel_norms, select_most_important
from bench.surgery.runtime_peak_model import runtime_peak_model


@dataclass(frozen=True)
class NetworkAnalysis:
    """The units of a network and its linear memory model at a budget's input shape, from one trace.

    Args:
        layout: the units and the slots of their channels.
        peak_model: bytes of each time step as a linear function of the widths.
        blocks: if the budget asks for multiples of channels, the channels in each slot.
    """

    layout: Layout
    peak_model: PeakModel
    blocks: Blocks = field(default_factory=dict)

    @property
    def widths(self) -> dict[str, int]:
        """Return the channels of each unit before pruning."""
        return self.layout.widths

    def select_kept(self, scores: dict[str, Tensor], widths: Widths) -> Kept:
        """Return the channels to keep: the most important ones of each unit that loses some.

        Args:
            scores: unit -> importance of each channel, (C,).
            widths: unit -> channels that stay.

        Returns:
            Unit -> sorted indices of the kept channels; units that keep all channels are left out.
        """
        return {
            unit: select_most_important(scores[unit], width)
            for unit, width in widths.items()
            if width < self.widths[unit]
        }


def analyse_network(model: nn.Module, budget: Budget) -> NetworkAnalysis:
    """Analyze a network at the input shape and under the memory convention of a budget.

    If the budget asks for multiples of channels, channels of similar norm are tied into blocks.

    Raises:
        ConfigError: no channel of the network can be removed, or the runtime that the convention
            names does not take the network.
        Infeasible: no unit has as many channels as a multiple.
    """
    graph = trace(model, budget.input_shape)
    layout = channel_layout(graph)
    layout.check_prunable()
    blocks: Blocks = {}
    if budget.channel_multiple > 1:
        order = {
            unit: norms.argsort(descending=True, stable=True).tolist()
            for unit, norms in channel_norms(model, layout).items()
        }
        layout, blocks = tie_slots(layout, budget.channel_multiple, order)
    peaks = (
        runtime_peak_model(model, graph, layout, budget)
        if budget.convention in PLANNERS
        else peak_model_of_graph(graph, layout, budget.convention)
    )
    if not layout.units:
        raise Infeasible(
            f"no unit has a width that is a multiple of {budget.channel_multiple} channels",
            peaks.peak_bytes({}),
        )
    return NetworkAnalysis(layout, peaks, blocks)
