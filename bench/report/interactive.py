"""Figures of the page, to hover over and to choose from: the only adapter to plotly.

They show the same data as the printed figures, from the same functions: the trade-off curve, the
memory of every time step, the pattern. Each function returns an HTML fragment; the page includes
plotly's script once.
"""

from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from bench.records import UNPRUNED, Record
from bench.report.curve import FRONT_LABEL, budgeted_peak_bytes, pareto_front
from bench.report.frame import Row
from bench.report.pattern import PatternPanel, format_unit
from bench.report.skips import SkipsPanel, kept_share
from bench.report.style import label_styles
from bench.report.table import MISSING
from bench.units import mib

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

GREY, PALE = "#595959", "#d0d0d0"
SYMBOLS = {
    "o": "circle",
    "s": "square",
    "^": "triangle-up",
    "D": "diamond",
    "v": "triangle-down",
    "P": "cross",
    "X": "x",
    "<": "triangle-left",
    ">": "triangle-right",
    "p": "pentagon",
}
DASHES = {"-": "solid", "--": "dash", "-.": "dashdot", ":": "dot"}
UNPRUNED_STYLE = {
    "line": {"color": GREY},
    "marker": {"color": GREY, "symbol": "star", "size": 13},
}
FONT = {"family": "system-ui, sans-serif", "size": 13}
MAX_LIVE_VALUES = 6  # that are named when hovering over a time step


def plotly_script() -> str:
    """Return plotly's JavaScript."""
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs())


def render_curve(panel: Sequence[Row], div_id: str) -> str:
    """Render PSNR against peak memory; hovering shows the cell.

    `panel` is one of `bench.report.curve.select_panels`.
    """
    import plotly.graph_objects as go

    figure = go.Figure()
    styles = _plotly_styles(
        {row["label"]: row["method"] for row in panel if row["method"] != UNPRUNED}
    )
    front = pareto_front(panel)
    figure.add_scatter(
        x=[_peak_mib(row) for row in front],
        y=[row["psnr_db"] for row in front],
        name=FRONT_LABEL,
        mode="lines",
        line={"color": PALE, "width": 8},
        hoverinfo="skip",
    )
    for label in dict.fromkeys(row["label"] for row in panel):
        rows = sorted((row for row in panel if row["label"] == label), key=_peak_mib)
        _add_line(figure, label, rows, _peak_mib, styles.get(label, UNPRUNED_STYLE))
    figure.update_xaxes(title=f"peak memory ({panel[0]['convention']}), MiB", rangemode="tozero")
    figure.update_yaxes(title="PSNR, dB")
    return _to_html(figure, div_id, 620)


def render_timelines(records: Sequence[Record], div_id: str) -> str:
    """Render the bytes alive at each time step, one line per record.

    Records at ratio 1 are always visible, others for one ratio at a time.
    """
    import plotly.graph_objects as go

    figure = go.Figure()
    styles = _plotly_styles(
        {
            record.cell.label: record.cell.method
            for record in records
            if record.cell.method != UNPRUNED
        }
    )
    ratios = sorted({record.cell.ratio for record in records} - {1.0})
    ordered = [
        record for ratio in (1.0, *ratios) for record in records if record.cell.ratio == ratio
    ]
    for record in ordered:
        label = record.cell.label
        line = styles[label]["line"] if label in styles else {"color": GREY, "width": 3}
        figure.add_scatter(
            x=[step["step"] for step in record.timeline],
            y=[mib(step["bytes"]) for step in record.timeline],
            name=escape(label),
            mode="lines",
            line=dict(line, shape="hvh"),
            customdata=[
                f"<b>{escape(label)}</b><br>{_describe_step(step)}" for step in record.timeline
            ],
            hovertemplate="%{customdata}<extra></extra>",
        )
    if ratios:
        choices = {
            f"ratio {ratio:g}": [record.cell.ratio in (1.0, ratio) for record in ordered]
            for ratio in ratios
        }
        _add_menu(figure, choices)
    figure.update_xaxes(title="time step")
    figure.update_yaxes(title="alive, MiB", rangemode="tozero")
    return _to_html(figure, div_id, 620)


def render_skips(panel: SkipsPanel, div_id: str) -> str:
    """Render PSNR against the kept share of each long skip, when it alone is narrowed."""
    import plotly.graph_objects as go

    figure = go.Figure()
    for label, style in _plotly_styles({label: label for label in panel.lines}).items():
        _add_line(figure, label, panel.lines[label], kept_share, style)
    if panel.whole is not None:
        figure.add_hline(
            panel.whole["psnr_db"],
            line={"dash": "dash", "color": GREY},
            annotation={"text": escape(panel.whole["label"])},
        )
    figure.update_xaxes(title="share of its channels that the skip keeps", rangemode="tozero")
    figure.update_yaxes(title="PSNR, dB")
    return _to_html(figure, div_id, 480)


def render_pattern(panels: Mapping[float, PatternPanel], div_id: str) -> str:
    """Render the kept share of each unit, for one ratio at a time.

    `panels`: ratio -> panel.
    """
    import plotly.graph_objects as go

    figure = go.Figure()
    for panel in panels.values():
        figure.add_heatmap(
            z=[[shares.get(unit) for unit in panel.units] for shares in panel.shares.values()],
            x=[escape(format_unit(unit)) for unit in panel.units],
            y=[escape(label) for label in panel.shares],
            zmin=0,
            zmax=1,
            colorscale="Viridis",
            xgap=1,
            ygap=1,
            hovertemplate="%{y}<br>%{x}: %{z:.0%} kept<extra></extra>",
            colorbar={"thickness": 12, "tickformat": ".0%"},
        )
    choices = {f"ratio {ratio:g}": [other == ratio for other in panels] for ratio in panels}
    _add_menu(figure, choices)
    figure.update_yaxes(autorange="reversed", tickfont={"size": 11})
    figure.update_xaxes(tickangle=-90, tickfont={"size": 11})
    height = 240 + 22 * max(len(panel.shares) for panel in panels.values())
    return _to_html(figure, div_id, height)


def _plotly_styles(methods: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Return the colours, markers and lines of the printed figures in the terms of plotly.

    `methods`: label -> method.
    """
    styles = {}
    for label, style in label_styles(methods).items():
        colour = style["color"]
        marker = {
            "color": colour,
            "symbol": SYMBOLS[style["marker"]],
            "size": 9,
            "line": {"color": "white", "width": 1},
        }
        styles[label] = {
            "line": {
                "color": colour,
                "dash": DASHES[style["linestyle"]],
                "width": 1.5 * style["linewidth"],
            },
            "marker": marker,
        }
    return styles


def _peak_mib(row: Row) -> float:
    return mib(budgeted_peak_bytes(row) or 0)


def _add_line(
    figure: "Figure",
    label: str,
    rows: Sequence[Row],
    x: Callable[[Row], float],
    style: Mapping[str, Any],
) -> None:
    """Add the PSNR of rows against `x`; hovering shows the cell.

    Bars are half of the 95 % interval over seeds, for rows of three seeds or more.
    """
    halves = [row["psnr_db_half95"] or 0 for row in rows]
    figure.add_scatter(
        x=[x(row) for row in rows],
        y=[row["psnr_db"] for row in rows],
        error_y={"array": halves, "visible": any(halves)},
        name=escape(label),
        mode="lines+markers",
        customdata=[_describe_cell(row) for row in rows],
        hovertemplate="%{customdata}<extra></extra>",
        **style,
    )


def _describe_cell(row: Row) -> str:
    """Return the text that is shown when hovering over a point."""
    spread = "" if row["psnr_db_half95"] is None else f" ± {row['psnr_db_half95']:.2f}"
    ssim = MISSING if row["ssim"] is None else f"{row['ssim']:.4f}"
    return (
        f"<b>{escape(row['label'])}</b>, ratio {row['ratio']:g}<br>"
        f"{row['psnr_db']:.2f}{spread} dB, SSIM {ssim}<br>"
        f"peak {_peak_mib(row):.1f} MiB, {row['parameters']:,} parameters<br>"
        f"{row['steps']:,} steps, {row['seconds']:,.0f} s"
    )


def _describe_step(step: Mapping[str, Any]) -> str:
    """Return the text that is shown when hovering over a time step."""
    live = sorted(step["live"].items(), key=lambda item: -item[1])
    lines = [f"{escape(name)}: {mib(size):.1f}" for name, size in live[:MAX_LIVE_VALUES]]
    rest = len(live) - MAX_LIVE_VALUES
    more = [f"{rest} smaller ones"] if rest > 0 else []
    return "<br>".join([f"{escape(step['op'])}: {mib(step['bytes']):.1f} MiB", *lines, *more])


def _add_menu(figure: "Figure", choices: Mapping[str, Sequence[bool]]) -> None:
    """Add a menu of visible traces; the first choice is selected.

    `choices`: text -> whether each trace is visible.
    """
    for trace, is_visible in zip(figure.data, next(iter(choices.values())), strict=True):
        trace.visible = is_visible
    buttons = [
        {"label": text, "method": "update", "args": [{"visible": list(visible)}]}
        for text, visible in choices.items()
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


def _to_html(figure: "Figure", div_id: str, height: int) -> str:
    """Return HTML without the script; the legend is below, so that narrow screens keep width."""
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
    html = to_html(figure, full_html=False, include_plotlyjs=False, div_id=div_id, config=config)
    return str(html)
