"""Every operator whose memory is known has a rule for pixels, or is refused by name."""

from bench.graph.operators import CALLS, LAYERS
from bench.tiling.operators import SPATIAL_CALLS, SPATIAL_LAYERS


def test_every_operator_of_the_table_has_a_row_and_no_other_has_one() -> None:
    assert SPATIAL_LAYERS.keys() == LAYERS.keys()
    assert SPATIAL_CALLS.keys() == CALLS.keys()
