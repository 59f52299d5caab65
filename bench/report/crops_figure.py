"""Crops of restored photographs side by side, above the scores of the whole photograph.

This is Fig. 4 of the MOSP paper. A rule that does not depend on any method selects the photographs
and the crops (`bench.training.sample_crops`). The figure shows the clean and the degraded crop, and
the crop of every row at the smallest ratio and its first seed, for the first photograph of each
test set.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from bench.errors import ConfigError
from bench.files.crops import crop_path, is_intact
from bench.records import Record
from bench.report.captions import section_title
from bench.report.frame import (
    cell_fields,
    cell_section_key,
    first_per_key,
    group_by,
    row_name,
)
from bench.report.results import RunResults
from bench.report.style import FULL_INCHES, open_figure
from bench.study.store import Store

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

TILES_PER_LINE = 5
TILE_INCHES = (FULL_INCHES / TILES_PER_LINE, 1.7)
HEADING_INCHES = 0.45
CAPTION = "below each: PSNR in dB / SSIM of the whole photograph"


class Tile(NamedTuple):
    """One crop: label and ratio of its row, path, and scores of the whole photograph as text.

    The clean and the degraded crop have no ratio.
    """

    label: str
    ratio: float | None
    path: Path
    scores: str

    @property
    def name(self) -> str:
        """The name of the row."""
        return row_name(self.label, self.ratio)


class View(NamedTuple):
    """All crops of one photograph, or it as a whole, clean and degraded first."""

    title: str
    test_set: str
    photograph: str
    tiles: list[Tile]
    is_whole: bool = False


def draw(store: Store, results: RunResults, path: Path, *copies: Path) -> Path:
    """Write the figure as png, svg or pdf, by the suffix of each path; return the first path.

    Raises:
        ConfigError: no crops are stored.
    """
    views = select_views(store, results)
    if not views:
        raise ConfigError(
            "there are no crops of restored photographs, so there is nothing to show; "
            "run the study again"
        )
    lines = [-(-len(view.tiles) // TILES_PER_LINE) for view in views]
    heights = [HEADING_INCHES + TILE_INCHES[1] * count for count in lines]
    inches = (TILE_INCHES[0] * TILES_PER_LINE, sum(heights))
    with open_figure((path, *copies), inches, rc={"axes.grid": False}) as figure:
        _close_gaps(figure)
        parts = figure.subfigures(len(views), 1, squeeze=False, height_ratios=heights)[:, 0]
        for part, view, count in zip(parts, views, lines, strict=True):
            _draw_view(part, view, count)
    return path


def _close_gaps(figure: "Figure") -> None:
    """Let the tiles, which have no axes, stand close together."""
    engine: Any = figure.get_layout_engine()
    engine.set(w_pad=0.02, h_pad=0.02, wspace=0, hspace=0)


def select_views(store: Store, results: RunResults) -> list[View]:
    """Return the first photograph of each test set, with the rows at the smallest ratio."""
    views = collect_views(store, select_smallest_ratio(results.records))
    return first_per_key(views, lambda view: (view.title, view.test_set))


def select_smallest_ratio(records: Sequence[Record]) -> list[Record]:
    """Return the finished records at ratio 1 and at the smallest ratio, one seed of each row.

    The smallest ratio is that of the records that restored the same photographs.
    """
    done = [record for record in records if record.status == "done"]
    smallest: dict[str, float] = {}
    for record in done:
        key = _photographs_key(record)
        smallest[key] = min(smallest.get(key, 1.0), record.cell.ratio)
    selected = [
        record for record in done if record.cell.ratio in (1.0, smallest[_photographs_key(record)])
    ]
    return first_per_key(
        selected,
        lambda record: (_photographs_key(record), record.cell.label, record.cell.ratio),
    )


def _photographs_key(record: Record) -> str:
    """Return a key that is equal for records of one section that restored the same photographs."""
    return cell_section_key(record.cell) + record.cell.data_fingerprint


def collect_views(store: Store, records: Sequence[Record], whole: bool = False) -> list[View]:
    """Return every photograph that has crops, with the crops of all records that have one.

    With `whole`, return every one that is stored whole, instead of its crops.
    """
    done = [record for record in records if record.status == "done"]
    views = []
    for group in group_by(done, _photographs_key):
        title = section_title(cell_fields(group[0].cell))
        for test_set, photographs in group[0].scores.items():
            for photograph in photographs:
                tiles = _collect_tiles(store, group, test_set, photograph, whole)
                if len(tiles) > 2:  # more than clean and degraded
                    views.append(View(title, test_set, photograph, tiles, whole))
    return views


def _collect_tiles(
    store: Store, records: Sequence[Record], test_set: str, photograph: str, whole: bool
) -> list[Tile]:
    """Return the clean, the degraded and every restored crop whose file is intact."""
    shared_folder = store.crop_folders(records[0].cell)[1]
    tiles = [
        Tile(kind, None, crop_path(shared_folder / kind, test_set, photograph, whole), "")
        for kind in ("clean", "degraded")
    ]
    for record in records:
        score = record.scores.get(test_set, {}).get(photograph, {})
        scores = " / ".join(
            f"{score[metric]:{number_format}}"
            for metric, number_format in (("psnr_db", ".2f"), ("ssim", ".4f"))
            if metric in score
        )
        path = crop_path(store.crop_folders(record.cell)[0], test_set, photograph, whole)
        tiles.append(Tile(record.cell.label, record.cell.ratio, path, scores))
    return [tile for tile in tiles if is_intact(tile.path)]


def _draw_view(part: "SubFigure", view: View, lines: int) -> None:
    """Draw a heading and the tiles of one photograph."""
    ratio = min(tile.ratio or 1.0 for tile in view.tiles)
    part.suptitle(
        f"{view.title} · {view.test_set}: {view.photograph}, ratio {ratio:g}\n{CAPTION}",
        x=0.01,
        ha="left",
    )
    all_axes = part.subplots(lines, TILES_PER_LINE, squeeze=False).ravel()
    for axes in all_axes:
        axes.set_axis_off()
    for axes, tile in zip(all_axes, view.tiles, strict=False):
        _draw_tile(axes, tile)


def _draw_tile(axes: "Axes", tile: Tile) -> None:
    from matplotlib.image import imread

    try:
        axes.imshow(imread(tile.path), interpolation="nearest")
    except (OSError, SyntaxError, ValueError) as error:  # that decoders raise
        raise ConfigError(f"{tile.path} cannot be read as a crop ({error}); remove it") from error
    axes.text(
        0.5,
        -0.03,
        f"{tile.label}\n{tile.scores}",
        transform=axes.transAxes,
        ha="center",
        va="top",
    )
