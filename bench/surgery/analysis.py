"""Analysis of a network before pruning: its units, and the bytes of their channels at each step."""

from dataclasses import dataclass

from torch import Tensor, nn

from bench.channels.units import Layout, channel_layout
from bench.contract import Budget, Kept, Widths
from bench.graph.lowering import trace
from bench.memory.peak_model import PeakModel, peak_model_of_graph
from bench.runtimes.registry import PLANNERS
from bench.surgery.importance import select_most_important
from bench.surgery.runtime_peak_model import runtime_peak_model


@dataclass(frozen=True)
class NetworkAnalysis:
    """The units of a network and its linear memory model at a budget's input shape, from one trace.

    Args:
        layout: the units and the slots of their channels.
        peak_model: bytes of each time step as a linear function of the widths.
    """

    layout: Layout
    peak_model: PeakModel

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

    Raises:
        ConfigError: no channel of the network can be removed, or the runtime that the convention
            names does not take the network.
    """
    graph = trace(model, budget.input_shape)
    layout = channel_layout(graph)
    layout.check_prunable()
    if budget.convention in PLANNERS:
        return NetworkAnalysis(layout, runtime_peak_model(model, graph, layout, budget))
    return NetworkAnalysis(layout, peak_model_of_graph(graph, layout, budget.convention))
