"""Which channels of a network go together: units, and how channels flow through operators."""
