"""The figures of the page, to hover over and to choose from: the only door to plotly.

They show what the printed figures show, from the same functions: the trade-off curve, the memory of
every time step, the pattern. Each function gives an HTML fragment; the page brings plotly's script
once.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from bench.records import UNPRUNED, Record
from bench.report.curve import FRONT, Row, pareto, reached_bytes
from bench.report.pattern import Panel, shown
from bench.report.skips import Panel as SkipsPanel
from bench.report.skips import share
from bench.report.style import styles
from bench.report.table import MISSING
from bench.units import mib

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

GREY, PALE = "#595959", "#d0d0d0"
SYMBOLS = {"o": "circle", "s": "square", "^": "triangle-up", "D": "diamond", "v": "triangle-down", "P": "cross", "X": "x",
           "<": "triangle-left", ">": "triangle-right", "p": "pentagon"}  # fmt: skip
DASHES = {"-": "solid", "--": "dash", "-.": "dashdot", ":": "dot"}
FONT = {"family": "system-ui, sans-serif", "size": 13}
LIVE_SHOWN = 6


def script() -> str:
    """Plotly's own JavaScript."""
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs())


def curve(panel: Sequence[Row], name: str) -> str:
    """PSNR against peak memory; hovering shows the cell.

    `panel` is one of `bench.report.curve.panels`.
    """
    import plotly.graph_objects as go

    figure, look = go.Figure(), _looks(row["label"] for row in panel if row["method"] != UNPRUNED)
    front = pareto(panel)
    wide = {"color": PALE, "width": 8}
    figure.add_scatter(
        x=[_peak_mib(row) for row in front],
        y=[row["psnr_db"] for row in front],
        name=FRONT,
        mode="lines",
        line=wide,
        hoverinfo="skip",
    )
    for label in dict.fromkeys(row["label"] for row in panel):
        points = sorted((row for row in panel if row["label"] == label), key=_peak_mib)
        drawn = look.get(
            label,
            {"line": {"color": GREY}, "marker": {"color": GREY, "symbol": "star", "size": 13}},
        )
        _line(figure, label, points, _peak_mib, drawn)
    figure.update_xaxes(title=f"peak memory ({panel[0]['convention']}), MiB", rangemode="tozero")
    figure.update_yaxes(title="PSNR, dB")
    return _fragment(figure, name, 620)


def timelines(records: Sequence[Record], name: str) -> str:
    """Bytes alive at each time step, one line per record: those of ratio 1 always, others for one ratio at a time."""
    import plotly.graph_objects as go

    figure, look = (
        go.Figure(),
        _looks(record.cell.label for record in records if record.cell.method != UNPRUNED),
    )
    whole = [record for record in records if record.cell.ratio == 1]
    ratios = sorted({record.cell.ratio for record in records} - {1.0})
    shown_at = []
    for record in [
        *whole,
        *(record for ratio in ratios for record in records if record.cell.ratio == ratio),
    ]:
        line = (
            look[record.cell.label]["line"]
            if record.cell.label in look
            else {"color": GREY, "width": 3}
        )
        figure.add_scatter(
            x=[step["step"] for step in record.timeline],
            y=[mib(step["bytes"]) for step in record.timeline],
            name=escape(record.cell.label),
            mode="lines",
            line=dict(line, shape="hvh"),
            customdata=[
                f"<b>{escape(record.cell.label)}</b><br>{_alive(step)}" for step in record.timeline
            ],
            hovertemplate="%{customdata}<extra></extra>",
        )
        shown_at.append(record.cell.ratio)
    if ratios:
        _choose(
            figure,
            {f"ratio {ratio:g}": [at in (1.0, ratio) for at in shown_at] for ratio in ratios},
        )
    figure.update_xaxes(title="time step")
    figure.update_yaxes(title="alive, MiB", rangemode="tozero")
    return _fragment(figure, name, 620)


def skips(panel: SkipsPanel, name: str) -> str:
    """PSNR against the share that each long skip keeps, when it alone is narrowed."""
    import plotly.graph_objects as go

    figure = go.Figure()
    for label, look in _looks(panel.lines).items():
        _line(figure, label, panel.lines[label], share, look)
    if panel.whole is not None:
        figure.add_hline(
            panel.whole["psnr_db"],
            line={"dash": "dash", "color": GREY},
            annotation={"text": escape(panel.whole["label"])},
        )
    figure.update_xaxes(title="share of its channels that the skip keeps", rangemode="tozero")
    figure.update_yaxes(title="PSNR, dB")
    return _fragment(figure, name, 480)


def pattern(panels: Mapping[float, Panel], name: str) -> str:
    """The share of its channels that each unit keeps, for one ratio at a time.

    `panels`: ratio -> panel.
    """
    import plotly.graph_objects as go

    figure = go.Figure()
    for panel in panels.values():
        grid = [[shares.get(unit) for unit in panel.units] for shares in panel.shares.values()]
        figure.add_heatmap(
            z=grid,
            x=[escape(shown(unit)) for unit in panel.units],
            y=[escape(label) for label in panel.shares],
            zmin=0,
            zmax=1,
            colorscale="Viridis",
            xgap=1,
            ygap=1,
            hovertemplate="%{y}<br>%{x}: %{z:.0%} kept<extra></extra>",
            colorbar={"thickness": 12, "tickformat": ".0%"},
        )
    _choose(figure, {f"ratio {ratio:g}": [other == ratio for other in panels] for ratio in panels})
    figure.update_yaxes(autorange="reversed", tickfont={"size": 11})
    figure.update_xaxes(tickangle=-90, tickfont={"size": 11})
    return _fragment(figure, name, 240 + 22 * max(len(panel.shares) for panel in panels.values()))


def _looks(labels: Iterable[str]) -> dict[str, dict[str, Any]]:
    """The printed figures' colours, markers and lines, in plotly's words."""
    looks = {}
    for label, look in styles(list(dict.fromkeys(labels))).items():
        colour = "#" + "".join(f"{round(255 * part):02x}" for part in look["color"])
        marker = {
            "color": colour,
            "symbol": SYMBOLS[look["marker"]],
            "size": 9,
            "line": {"color": "white", "width": 1},
        }
        looks[label] = {
            "line": {"color": colour, "dash": DASHES[look["linestyle"]], "width": 2},
            "marker": marker,
        }
    return looks


def _peak_mib(row: Row) -> float:
    return mib(reached_bytes(row) or 0)


def _line(
    figure: "Figure",
    label: str,
    points: Sequence[Row],
    x: Callable[[Row], float],
    look: Mapping[str, Any],
) -> None:
    """PSNR of some rows against something, with half of the 95 % interval over seeds where there are several; hovering shows the cell."""
    halves = [row["psnr_db_half95"] or 0 for row in points]
    figure.add_scatter(
        x=[x(row) for row in points],
        y=[row["psnr_db"] for row in points],
        error_y={"array": halves, "visible": any(halves)},
        name=escape(label),
        mode="lines+markers",
        customdata=[_cell(row) for row in points],
        hovertemplate="%{customdata}<extra></extra>",
        **look,
    )


def _cell(row: Row) -> str:
    """What hovering over a point says."""
    spread = "" if row["psnr_db_half95"] is None else f" ± {row['psnr_db_half95']:.2f}"
    ssim = MISSING if row["ssim"] is None else f"{row['ssim']:.4f}"
    return (
        f"<b>{escape(row['label'])}</b>, ratio {row['ratio']:g}<br>{row['psnr_db']:.2f}{spread} dB, SSIM {ssim}"
        f"<br>peak {_peak_mib(row):.1f} MiB, {row['parameters']:,} parameters<br>{row['steps']:,} steps, {row['seconds']:,.0f} s"
    )


def _alive(step: Mapping[str, Any]) -> str:
    """What hovering over a time step says."""
    live = sorted(step["live"].items(), key=lambda item: -item[1])
    lines = [f"{escape(name)}: {mib(size):.1f}" for name, size in live[:LIVE_SHOWN]]
    more = [f"{len(live) - LIVE_SHOWN} smaller ones"] if len(live) > LIVE_SHOWN else []
    return "<br>".join([f"{escape(step['op'])}: {mib(step['bytes']):.1f} MiB", *lines, *more])


def _choose(figure: "Figure", choices: Mapping[str, Sequence[bool]]) -> None:
    """A menu of which traces are seen; the first choice is on."""
    for trace, on in zip(figure.data, next(iter(choices.values())), strict=True):
        trace.visible = on
    buttons = [
        {"label": text, "method": "update", "args": [{"visible": list(seen)}]}
        for text, seen in choices.items()
    ]
    menu = {
        "buttons": buttons,
        "x": 0,
        "xanchor": "left",
        "y": 1,
        "yanchor": "bottom",
        "pad": {"b": 8},
        "bgcolor": "white",
    }
    figure.update_layout(updatemenus=[menu])


def _fragment(figure: "Figure", name: str, height: int) -> str:
    """HTML without the script; the legend below, so that narrow screens keep their width."""
    from plotly.io import to_html

    figure.update_layout(
        template="plotly_white",
        font=FONT,
        height=height,
        margin={"l": 10, "r": 10, "t": 50, "b": 10},
        hoverlabel={"align": "left", "bgcolor": "white"},
        legend={"orientation": "h", "yanchor": "top", "y": -0.16, "x": 0},
    )
    figure.update_xaxes(automargin=True)
    figure.update_yaxes(automargin=True)
    config = {
        "responsive": True,
        "displaylogo": False,
        "modeBarButtonsToRemove": ["select2d", "lasso2d"],
    }
    return str(to_html(figure, full_html=False, include_plotlyjs=False, div_id=name, config=config))
