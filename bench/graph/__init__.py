"""A network as a graph of operators and values: tracing, the operator table, lowering."""
