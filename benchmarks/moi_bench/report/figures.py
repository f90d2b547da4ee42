"""Figures as inline SVG by matplotlib: lines over a logarithmic x, and dots with intervals.

Text stays text, colours are those of the page's style, and nothing refers to anything outside the page. matplotlib is
imported when a figure is drawn, through its objects alone: no global state, no display.
"""

from __future__ import annotations

import contextlib
import html
import io
import re
import textwrap
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Points = Sequence[tuple[float, float]]
Dot = tuple[float, float, float, float]  # (x, y, low, high)
Interval = tuple[str, float, float, float]  # (name, value, low, high)

_WIDTH, _FONT = 5.0, 11.0  # inches of 72 points: as wide as a phone, so that text is as large there
_INK, _SOFT, _LINE, _PAPER = "#1b1f24", "#5b6570", "#d5dae0", "#fffffe"
_SERIES = ("#1f5fa8", "#b4531a", "#2e7d4f", "#7a3e9d", "#8a6d00", "#444444")
_MARKERS = "os^Dv*"
_VARIABLES = {_INK: "--ink", _SOFT: "--soft", _LINE: "--line", _PAPER: "--paper"} | {
    c: f"--c{i}" for i, c in enumerate(_SERIES)
}
_LONGEST = 46  # characters of a line
_SMALLEST = 1e-12  # of a logarithmic axis


def lines(series: Mapping[str, Points], x_label: str, y_label: str, title: str, *, signed: bool = False) -> str:
    """Logarithmic x; y logarithmic, or with `signed` linear around a line at zero. A legend above."""
    xs = sorted({x for values in series.values() for x, _ in values})
    with _drawing(f"{title} {series}"):
        figure, axes = _axes(3.2)
        for index, values in enumerate(series.values()):
            points = [(x, y if signed else max(y, _SMALLEST)) for x, y in sorted(values)]
            style: dict[str, Any] = {"color": _SERIES[index % 6], "marker": _MARKERS[index % 6], "clip_on": False}
            axes.plot(*zip(*points, strict=True), **style)
        axes.set_xscale("log")
        axes.set_xticks(xs, [_short(x) for x in xs])
        axes.minorticks_off()
        if signed:
            axes.axhline(0, color=_SOFT, linewidth=1, clip_on=False)
            _linear(axes.yaxis)
        else:
            axes.set_yscale("log")
        axes.grid(axis="y", color=_LINE, clip_on=False)
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        legend = "".join(_key(index, name) for index, name in enumerate(series))
        return _figure(figure, title, legend)


def intervals(rows: Sequence[Interval], x_label: str, title: str, reference: tuple[str, float] | None = None) -> str:
    """A dot and its interval for each row, its name above it; a line at zero, and a broken one at the reference."""
    names = [_wrapped(f"{name}: {value:.1f} [{low:.1f}, {high:.1f}]") for name, value, low, high in rows]
    height = sum(len(name) + 1.5 for name in names)  # in lines of text
    with _drawing(f"{title} {rows}"):
        figure, axes = _axes(0.9 + 0.2 * height, left=0.03)
        marks = [0.0] if reference is None else [0.0, reference[1]]
        for place, style in zip(marks, ("-", "--"), strict=False):
            axes.axvline(place, color=_SOFT, linewidth=1, linestyle=style, clip_on=False)
        y = height
        for name, (_, value, low, high) in zip(names, rows, strict=True):
            y -= len(name) + 0.5
            axes.plot([low, high], [y, y], color=_SERIES[0], linewidth=2, clip_on=False)
            axes.plot([value], [y], color=_SERIES[0], marker="o", clip_on=False)
            box = {"facecolor": _PAPER, "edgecolor": "none", "pad": 1}  # no line crosses a name
            where: dict[str, Any] = {"transform": axes.get_yaxis_transform(), "va": "bottom", "bbox": box}
            axes.text(0, y + 0.5, "\n".join(name), parse_math=False, **where)
            y -= 1
        axes.set_ylim(0, height)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.set_xlabel(x_label)
        axes.grid(axis="x", color=_LINE, clip_on=False)
        _linear(axes.xaxis)
        note = "" if reference is None else f"Broken line: {reference[0]}, {reference[1]:g}."
        return _figure(figure, title, html.escape(note))


def dots(series: Mapping[str, Sequence[Dot]], x_label: str, y_label: str, title: str, *, log: bool = False) -> str:
    """Dots with upright intervals over x, linear or logarithmic, those of one name joined by a line; a legend above."""
    with _drawing(f"{title} {series}"):
        figure, axes = _axes(3.2)
        free: dict[str, Any] = {"clip_on": False}
        for index, values in enumerate(series.values()):
            colour = _SERIES[index % 6]
            found = sorted(values)
            axes.plot(
                [x for x, *_ in found], [y for _, y, *_ in found], color=colour, marker=_MARKERS[_mark(index)], **free
            )
            for x, _, low, high in found:
                axes.plot([x, x], [low, high], color=colour, linewidth=1.5, **free)
        axes.axhline(0, color=_SOFT, linewidth=1, clip_on=False)
        if log:
            axes.set_xscale("log")
            xs = sorted({x for values in series.values() for x, *_ in values})
            axes.set_xticks(
                [xs[0], xs[-1]] if xs[0] < xs[-1] else xs[:1], [_short(x) for x in dict.fromkeys((xs[0], xs[-1]))]
            )
            axes.minorticks_off()
        else:
            _linear(axes.xaxis)
        _linear(axes.yaxis)
        axes.grid(axis="y", color=_LINE, clip_on=False)
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        return _figure(figure, title, "".join(_key(index, name) for index, name in enumerate(series)))


def _axes(height: float, left: float = 0.17) -> tuple[Any, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH, height))
    axes = figure.add_axes((left, 0.6 / height, 0.97 - left, 1 - 0.75 / height))
    figure.patch.set_visible(False)
    axes.patch.set_visible(False)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure, axes


def _linear(axis: Any) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    axis.set_major_formatter(FuncFormatter(lambda value, _: _short(value)))


@contextlib.contextmanager
def _drawing(content: str) -> Iterator[None]:
    """Settings of a figure. Ids of its parts follow from `content`, so that figures on a page share none.

    A glyph that matplotlib's font lacks is drawn by the browser's: no warning.
    """
    from matplotlib import rc_context

    colours = dict.fromkeys(("text.color", "axes.labelcolor", "xtick.labelcolor", "ytick.labelcolor"), _INK)
    edges = dict.fromkeys(("axes.edgecolor", "xtick.color", "ytick.color"), _SOFT)
    text = {"svg.fonttype": "none", "svg.hashsalt": content, "font.size": _FONT, "axes.unicode_minus": False}
    with rc_context({**colours, **edges, **text, "lines.markersize": 5}), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _figure(figure: Any, title: str, note: str) -> str:
    written = io.StringIO()
    figure.savefig(written, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    drawing = written.getvalue()
    drawing = drawing[drawing.index("<svg") :].rstrip()
    drawing = re.sub(r' id="[a-z0-9._]+_\d+"| xmlns(:xlink)?="[^"]*"| (?:width|height)="[\d.]+pt"', "", drawing)
    drawing = drawing.replace("xlink:href", "href").replace("\n", " ")
    drawing = re.sub(r"font-size: [\d.]+px; font-family: [^;\"]*;?", "", drawing)
    for colour, variable in _VARIABLES.items():
        drawing = drawing.replace(colour, f"var({variable})")
    label = html.escape(title, quote=True)
    drawing = drawing.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)
    caption = f"{html.escape(title)}<div>{note}</div>" if note else html.escape(title)
    return f"<figure><figcaption>{caption}</figcaption>{drawing}</figure>"


def _key(index: int, name: str) -> str:
    mark = "●■▲◆▼★"[_mark(index)]
    return f'<span class="key s{index % 6}">{mark} {html.escape(name)}</span> '


def _mark(index: int) -> int:
    """Of a series: two of one colour have different ones."""
    return (index + index // 6) % 6


def _wrapped(name: str) -> list[str]:
    """A name as a drawing may hold it: no control characters or halves of characters, and no wider than a phone."""
    name = "".join(character if character.isprintable() else "\ufffd" for character in name)
    return textwrap.wrap(name, _LONGEST, max_lines=4, placeholder="…")


def _short(value: float) -> str:
    return f"{value / 1000:.3g}k" if abs(value) >= 10_000 else f"{value:.3g}"
