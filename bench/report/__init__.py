"""Tables and figures, made from Records alone."""
