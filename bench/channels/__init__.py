"""Units, the independent widths of a network, and how channels flow through its operators."""
