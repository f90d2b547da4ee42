"""Plots as inline SVG: lines over a logarithmic x, and dots with intervals. Colours come from the page's style."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Mapping, Sequence

WIDTH, LINE_HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 340, 70, 26, 14, 62
ROW = 70  # a name, its figures, its interval
_SHADES = 6
Points = Sequence[tuple[float, float]]


def lines(series: Mapping[str, Points], x_label: str, y_label: str, *, signed: bool = False) -> str:
    """Logarithmic x; y logarithmic, or with `signed` linear around a line at zero. A legend above."""
    points = [point for values in series.values() for point in values]
    xs, ys = sorted({x for x, _ in points}), [y for _, y in points]
    across = _scale(math.log(xs[0]), math.log(xs[-1]), LEFT, WIDTH - RIGHT)
    ticks = _steps(min(0.0, *ys), max(0.0, *ys)) if signed else _decades(min(ys), max(ys))
    move = float if signed else math.log10
    down = _scale(move(ticks[0]), move(ticks[-1]), LINE_HEIGHT - BOTTOM, TOP)
    parts = [_text(across(math.log(x)), LINE_HEIGHT - BOTTOM + 28, _short(x)) for x in xs]
    for tick in ticks:
        y = down(move(tick))
        parts += [
            _rule(LEFT, y, WIDTH - RIGHT, y, "grid" if tick else "zero"),
            _text(LEFT - 6, y + 5, _short(tick), "end"),
        ]
    for index, values in enumerate(series.values()):
        dots = [(across(math.log(x)), down(move(y))) for x, y in sorted(values)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in dots)
        parts.append(f'<polyline class="s{index % _SHADES}" points="{path}"/>')
        parts += [_dot(x, y, index) for x, y in dots]
    parts.append(_text((LEFT + WIDTH) / 2, LINE_HEIGHT - 8, x_label))
    return _figure(parts, LINE_HEIGHT, y_label, series)


def intervals(rows: Sequence[tuple[str, float, float, float]], unit: str, reference: tuple[str, float] | None) -> str:
    """A dot and its interval for each (name, value, low, high); a mark on each at the reference."""
    values = [v for row in rows for v in row[1:]] + ([reference[1]] if reference else [])
    pad = (max(values) - min(values)) * 0.05 or 1.0
    across = _scale(min(values) - pad, max(values) + pad, 14, WIDTH - 14)
    height, parts = 14 + ROW * len(rows), list[str]()
    for index, (name, value, low, high) in enumerate(rows):
        y = ROW * (index + 1) - 8
        parts.append(_text(14, y - 38, name, "start"))
        parts.append(_text(14, y - 14, f"{value:.1f} {unit} [{low:.1f}, {high:.1f}]", "start"))
        if reference is not None:  # no line from top to bottom: it would cross the names
            parts.append(_rule(across(reference[1]), y - 9, across(reference[1]), y + 9, "ref"))
        parts.append(f'<line class="s0" x1="{across(low):.1f}" y1="{y}" x2="{across(high):.1f}" y2="{y}"/>')
        parts.append(_dot(across(value), y, 0))
    title = f"upright mark: {reference[0]}, {reference[1]:g} {unit}" if reference else ""
    return _figure(parts, height, title, {})


def _figure(parts: list[str], height: int, title: str, series: Mapping[str, Points]) -> str:
    legend = "".join(f'<span class="key s{i % _SHADES}">{html.escape(name)}</span> ' for i, name in enumerate(series))
    legend = f"<div>{legend}</div>" if legend else ""
    caption = f"<figcaption>{html.escape(title)}{legend}</figcaption>" if title or legend else ""
    label = html.escape(title or "values with intervals", quote=True)
    drawing = f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{label}">{"".join(parts)}</svg>'
    return f"<figure>{caption}{drawing}</figure>"


def _decades(low: float, high: float) -> list[float]:
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    return [10.0**power for power in range(first, max(last, first + 1) + 1)]


def _steps(low: float, high: float) -> list[float]:
    """Three to six multiples of 1, 2 or 5 times a power of ten, around low..high."""
    rough = (high - low or 1.0) / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [step * number for number in range(first, max(last, first + 1) + 1)]


def _short(value: float) -> str:
    return f"{value / 1000:.3g}k" if abs(value) >= 10_000 else f"{value:.4g}"


def _scale(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    span = (high - low) or 1.0
    return lambda value: start + (value - low) / span * (end - start)


def _text(x: float, y: float, text: str, anchor: str = "middle") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{html.escape(text)}</text>'


def _rule(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _dot(x: float, y: float, index: int) -> str:
    return f'<circle class="s{index % _SHADES}" cx="{x:.1f}" cy="{y:.1f}" r="4"/>'
