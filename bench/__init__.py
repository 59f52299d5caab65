"""The harness of prunebench: contract, memory model, surgery, training, runs, reports."""
