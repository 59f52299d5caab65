"""Tables and figures of a run, made from its records alone."""
