"""What surrounds the exporters of runtimes."""

import logging
import sys

from bench.runtimes.onnx_form import silence_exporters


def test_a_log_that_an_exporter_sets_up_does_not_swallow_later_messages() -> None:
    before = logging.root.handlers[:]
    with silence_exporters():
        logging.root.addHandler(logging.StreamHandler(sys.stderr))
    assert logging.root.handlers == before
