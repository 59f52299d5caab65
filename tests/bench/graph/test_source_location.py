"""The line of the user's code behind an operator or an error."""

from pathlib import Path

import pytest
import torch

from bench.graph.source_location import is_user_file

SITE_PACKAGES = Path(torch.__file__).parent.parent


@pytest.mark.parametrize(
    ("file", "is_users"),
    [
        ("torchsr/models/edsr.py", True),
        ("torch/nn/modules/conv.py", False),
        ("einops/einops.py", False),
        ("nets/einops_net.py", True),
    ],
)
def test_lines_of_torch_are_passed_over_and_those_of_packages_named_like_it_are_not(
    file: str, is_users: bool
) -> None:
    assert is_user_file(str(SITE_PACKAGES / file)) == is_users
