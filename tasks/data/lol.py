"""LOL: Wei, Wang, Yang and Liu, "Deep Retinex Decomposition for Low-Light Enhancement", BMVC 2018.

    DATA/our485/low/N.png, DATA/our485/high/N.png      485 pairs to train on
    DATA/eval15/low/N.png, DATA/eval15/high/N.png      15 pairs to test on

Most scenes of eval15 have a near-twin in our485: `prunebench data check` names them.
"""

from pathlib import Path

from tasks.data.library import DataSet, Library, pairs_in

LAYOUT = (
    "our485/low, our485/high, eval15/low and eval15/high, with the same file names in low and high"
)
SOURCE = "from the project page of Deep Retinex Decomposition (LOLdataset.zip); no licence is stated for the photographs: research use"


def _open(root: Path) -> Library:
    train, test = (
        pairs_in(root / part / "low", root / part / "high", LAYOUT) for part in ("our485", "eval15")
    )
    return Library(train, {"eval15": test})


LOL = DataSet("LOL", LAYOUT, SOURCE, ("our485", "eval15"), _open)
