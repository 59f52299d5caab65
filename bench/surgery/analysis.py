"""What a method needs to know of a network before it cuts: its units, and what each of their channels costs at each time step."""

from dataclasses import dataclass

from torch import Tensor, nn

from bench.channels.units import Layout, layout
from bench.contract import Budget, Kept, Widths
from bench.graph.lowering import trace
from bench.memory.peak_model import PeakModel, peak_model_of
from bench.surgery.importance import most_important


@dataclass(frozen=True)
class NetworkAnalysis:
    """The units of a network and its linear peak model at the budget's input shape, from one trace."""

    layout: Layout
    peaks: PeakModel

    @property
    def widths(self) -> dict[str, int]:
        """Unit -> channels before pruning."""
        return self.layout.widths

    def keep(self, scores: dict[str, Tensor], widths: Widths) -> Kept:
        """Unit -> indices of its most important channels, for the units that lose some."""
        return {
            unit: most_important(scores[unit], width)
            for unit, width in widths.items()
            if width < self.widths[unit]
        }


def analyze_network(model: nn.Module, budget: Budget) -> NetworkAnalysis:
    """The anatomy of a network at the input and under the convention of a budget.

    Raises ConfigError if there is nothing to prune.
    """
    graph = trace(model, budget.input_shape)
    channels = layout(graph)
    channels.check_prunable()
    return NetworkAnalysis(channels, peak_model_of(graph, channels, budget.convention))
