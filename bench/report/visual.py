"""Crops of restored photographs side by side, with the figures of the whole photograph beneath (Fig. 4 of the MOSP paper).

Which photographs and which part of them is a rule of bench.training.sample_crops that is blind to
every method. Shown are the clean and the degraded crop, and every row at the smallest ratio and its
first seed, for the first photograph of each test set.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bench.errors import ConfigError
from bench.records import Record
from bench.report.frame import asked, first_of_each, grouped, row_name, section
from bench.report.style import drawn
from bench.report.table import title
from bench.study.store import Store
from bench.training.sample_crops import is_whole, patch_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TILES_A_LINE = 6
TILE_INCHES = (1.75, 2.3)
HEADING_INCHES = 0.45


class Tile(NamedTuple):
    """One crop: whose it is, None for the ratio of what no network made, its file, the figures beneath."""

    label: str
    ratio: float | None
    path: Path
    figures: str

    @property
    def name(self) -> str:
        """The row in words."""
        return row_name(self.label, self.ratio)


class View(NamedTuple):
    """All crops of one photograph, clean and degraded first."""

    title: str
    test_set: str
    photograph: str
    tiles: list[Tile]


def draw(store: Store, records: Sequence[Record], path: Path | str) -> Path:
    """Writes the figure; the ending of `path` chooses the format (png, svg, pdf). Returns the path.

    Raises:
        ConfigError: no crops are stored.
    """
    found = shown(store, records)
    if not found:
        raise ConfigError(
            "there are no crops of restored photographs, so there is nothing to show; run the study again"
        )
    lines = [-(-len(view.tiles) // TILES_A_LINE) for view in found]
    heights = [HEADING_INCHES + TILE_INCHES[1] * count for count in lines]
    with drawn(
        Path(path), (TILE_INCHES[0] * TILES_A_LINE, sum(heights)), look={"axes.grid": False}
    ) as figure:
        for part, view, count in zip(
            figure.subfigures(len(found), 1, squeeze=False, height_ratios=heights)[:, 0],
            found,
            lines,
            strict=True,
        ):
            least = min(tile.ratio or 1.0 for tile in view.tiles)
            part.suptitle(
                f"{view.title} · {view.test_set}: {view.photograph}, ratio {least:g}",
                x=0.01,
                ha="left",
                fontsize=10,
            )
            places = part.subplots(count, TILES_A_LINE, squeeze=False).ravel()
            for axes in places:
                axes.set_axis_off()
            for axes, tile in zip(places, view.tiles, strict=False):
                _tile(axes, tile)
    return Path(path)


def shown(store: Store, records: Sequence[Record]) -> list[View]:
    """What the figure shows."""
    return first_of_each(
        views(store, smallest_ratio(records)), lambda view: (view.title, view.test_set)
    )


def smallest_ratio(records: Sequence[Record]) -> list[Record]:
    """The unpruned network and, place by place, the finished records of the smallest ratio, at the first seed of each."""
    done = [record for record in records if record.status == "done"]
    least: dict[str, float] = {}
    for record in done:
        least[_place(record)] = min(least.get(_place(record), 1.0), record.cell.ratio)
    chosen = [record for record in done if record.cell.ratio in (1.0, least[_place(record)])]
    return first_of_each(
        chosen, lambda record: (_place(record), record.cell.label, record.cell.ratio)
    )


def _place(record: Record) -> str:
    """Equal for records that restored the same photographs and stand in one section."""
    return section(asked(record.cell)) + record.cell.data_fingerprint


def views(store: Store, records: Sequence[Record]) -> list[View]:
    """Every photograph that has crops, with the tiles of the records that have one; place by place."""
    result = []
    for members in grouped((record for record in records if record.status == "done"), _place):
        for test_set, photos in members[0].scores.items():
            found = [
                View(
                    title(asked(members[0].cell)),
                    test_set,
                    photo,
                    _tiles(store, members, test_set, photo),
                )
                for photo in photos
            ]
            result += [view for view in found if len(view.tiles) > 2]
    return result


def _tiles(store: Store, records: Sequence[Record], test_set: str, photo: str) -> list[Tile]:
    """Clean, degraded, and every record, as far as their files are there and whole."""
    shared = store.patch_folders(records[0].cell)[1]
    tiles = [
        Tile(kind, None, patch_path(shared / kind, test_set, photo), "")
        for kind in ("clean", "degraded")
    ]
    for record in records:
        score = record.scores.get(test_set, {}).get(photo, {})
        figures = " / ".join(
            f"{score[metric]:{form}}"
            for metric, form in (("psnr_db", ".2f"), ("ssim", ".4f"))
            if metric in score
        )
        tiles.append(
            Tile(
                record.cell.label,
                record.cell.ratio,
                patch_path(store.patch_folders(record.cell)[0], test_set, photo),
                figures,
            )
        )
    return [tile for tile in tiles if is_whole(tile.path)]


def _tile(axes: "Axes", tile: Tile) -> None:
    from matplotlib.image import imread

    try:
        axes.imshow(imread(tile.path), interpolation="nearest")
    except (OSError, SyntaxError, ValueError) as error:  # what decoders raise
        raise ConfigError(f"{tile.path} cannot be read as a crop ({error}); remove it") from error
    axes.text(
        0.5,
        -0.03,
        f"{tile.label}\n{tile.figures}",
        transform=axes.transAxes,
        ha="center",
        va="top",
        fontsize=8,
    )
