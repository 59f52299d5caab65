"""The line of the user's code behind an operator or an error."""

from pathlib import Path

import torch

from bench.graph.source_location import user_line

SITE_PACKAGES = Path(torch.__file__).parent.parent


def test_lines_of_torch_are_passed_over_and_those_of_packages_named_like_it_are_not() -> None:
    trace = "\n".join(
        f'File "{SITE_PACKAGES / file}", line {line}, in forward'
        for file, line in (("torchsr/models/edsr.py", 12), ("torch/nn/modules/conv.py", 99))
    )
    assert user_line(trace) == ", edsr.py:12"
