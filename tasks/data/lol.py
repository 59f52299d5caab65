"""LOL: Wei, Wang, Yang and Liu, "Deep Retinex Decomposition for Low-Light Enhancement", BMVC 2018.

    DATA/our485/low/N.png, DATA/our485/high/N.png      485 pairs for training
    DATA/eval15/low/N.png, DATA/eval15/high/N.png      15 pairs for testing

Most scenes of eval15 have a near-twin in our485: `prunebench data check` names them.
"""

from pathlib import Path

from tasks.data.dataset import DataSet, Splits, list_pairs

LAYOUT = (
    "our485/low, our485/high, eval15/low and eval15/high, with the same file names in low and high"
)
SOURCE = (
    "from the project page of Deep Retinex Decomposition (LOLdataset.zip); "
    "no licence is stated for the photographs: research use"
)


def _find_splits(root: Path) -> Splits:
    train, test = (
        list_pairs(root / folder / "low", root / folder / "high", LAYOUT)
        for folder in ("our485", "eval15")
    )
    return Splits(train, {"eval15": test})


LOL = DataSet("LOL", LAYOUT, SOURCE, ("our485", "eval15"), _find_splits)
