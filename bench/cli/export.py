"""`prunebench export FOLDER`: write a saved network in a form that other programs read.

What is written is read back and compared with the network itself.
"""

import argparse
from pathlib import Path

from bench.cli.parser import add_shape_argument, positive_number
from bench.errors import ConfigError

NAME = "export"
HELP = "write a saved network as ONNX, safetensors or lean"
EXAMPLE = "prunebench export results/runs/table1 --row mosp --ratio 0.25 --format onnx"
EXPORTED = Path("results") / "exported"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the arguments of the command."""
    parser.add_argument(
        "folder", type=Path, metavar="FOLDER", help="folder of one saved network, or of a run"
    )
    parser.add_argument(
        "--format",
        choices=("onnx", "safetensors", "lean"),
        required=True,
        help="ONNX file, safetensors with the network as JSON, or the same for the lean executor",
    )
    parser.add_argument("--row", metavar="LABEL", help="label of the row, if FOLDER is a run")
    parser.add_argument(
        "--ratio",
        type=positive_number,
        metavar="RATIO",
        help="ratio of the row, if FOLDER is a run",
    )
    parser.add_argument("--seed", type=int, metavar="N", help="seed of the row, if FOLDER is a run")
    add_shape_argument(
        parser,
        "input (N, C, H, W) to write it for, such as 1x3x1024x2048 (default: that of its budget)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="PATH",
        help="file (onnx) or folder to write (default: in results/exported)",
    )


def run(arguments: argparse.Namespace) -> None:
    """Write the network and print where, and how far its output differs."""
    from bench.export.convert import default_path, export_network
    from bench.export.selection import select_network

    if not arguments.folder.is_dir():
        raise ConfigError(
            f"there is no folder {arguments.folder}; give that of a saved network, "
            "or of a run and --row, --ratio, --seed"
        )
    network = select_network(
        arguments.folder, arguments.row, arguments.ratio, arguments.seed, arguments.shape
    )
    path = arguments.out or default_path(network, arguments.format, EXPORTED)
    print("\n".join(export_network(network, arguments.format, path)))
