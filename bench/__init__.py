"""The harness of prunebench: contract, ruler, surgery, training, records, tables."""
