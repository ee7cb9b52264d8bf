"""Two kinds of plot as SVG text: bars and lines. No library: the README needs nothing more."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import NamedTuple

COLOURS = ("#1769aa", "#d1495b", "#2e8b57", "#8e5ea2", "#c77c11", "#546e7a")
OURS, THEIRS = COLOURS[0], "#9fb3bf"
_FONT = 'font-family="Helvetica, Arial, sans-serif" font-size="12" fill="#222"'


class Bar(NamedTuple):
    """One bar: its name, its length, and whether it is one of ours."""

    name: str
    value: float
    ours: bool


def _text(x: float, y: float, text: str, anchor: str = "start", *, bold: bool = False) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {_FONT}{weight}>{escape(text)}</text>'


def _page(width: int, height: int, parts: Sequence[str]) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">'
    return (
        "\n".join([head, f'<rect width="{width}" height="{height}" fill="#fff"/>', *parts, "</svg>"]) + "\n"
    )


def bars(title: str, unit: str, values: Sequence[Bar]) -> str:
    """Horizontal bars on a logarithmic scale, from one tenth of the smallest decade on."""
    left, right, row = 330, 90, 24
    width, height = 860, 60 + row * len(values) + 20
    low = 10 ** math.floor(math.log10(min(bar.value for bar in values))) / 2
    high = max(bar.value for bar in values)
    scale = (width - left - right) / math.log10(high / low)
    parts = [_text(16, 26, f"{title} ({unit}, logarithmic)", bold=True)]
    for number, bar in enumerate(values):
        y = 46 + number * row
        length = math.log10(bar.value / low) * scale
        parts += [
            _text(left - 10, y + 14, bar.name, "end", bold=bar.ours),
            f'<rect x="{left}" y="{y}" width="{length:.1f}" height="{row - 6}" fill="{OURS if bar.ours else THEIRS}"/>',
            _text(left + length + 6, y + 14, _number(bar.value)),
        ]
    return _page(width, height, parts)


def lines(
    title: str,
    x_label: str,
    y_label: str,
    series: Mapping[str, Sequence[tuple[float, float]]],
    *,
    logarithmic_x: bool = False,
    limit: tuple[str, float] | None = None,
) -> str:
    """Lines over a linear or logarithmic x, y from 0; `limit` is a dashed line with its name."""
    left, top, plot_width, plot_height = 70, 50, 600, 260
    xs = [x for points in series.values() for x, _ in points]
    highest = max([y for points in series.values() for _, y in points] + ([limit[1]] if limit else [])) or 1.0
    step = _step(highest)
    highest = math.ceil(highest / step - 1e-9) * step

    def at_x(x: float) -> float:
        if logarithmic_x:
            low, high, x = math.log10(min(xs)), math.log10(max(xs)), math.log10(x)
        else:
            low, high = min(xs), max(xs)
        return left + (x - low) / ((high - low) or 1.0) * plot_width

    def at_y(y: float) -> float:
        return top + plot_height * (1 - y / highest)

    parts = [_text(16, 26, title, bold=True), _text(16, 42, y_label)]
    for tick in range(round(highest / step) + 1):
        y = at_y(tick * step)
        parts += [
            f'<path d="M{left} {y:.1f}h{plot_width}" stroke="#e3e3e3"/>',
            _text(left - 8, y + 4, _number(tick * step), "end"),
        ]
    between = _step(max(xs))
    round_ones = [
        n * between for n in range(math.floor(max(xs) / between + 1e-9) + 1) if n * between >= min(xs)
    ]
    ticks = sorted(set(xs)) if len(set(xs)) <= 8 else round_ones
    parts += [_text(at_x(x), top + plot_height + 18, _number(x), "middle") for x in ticks]
    parts.append(_text(left + plot_width / 2, top + plot_height + 38, x_label, "middle"))
    if limit is not None:
        y = at_y(limit[1])
        parts += [
            f'<path d="M{left} {y:.1f}h{plot_width}" stroke="#888" stroke-dasharray="5 4"/>',
            _text(left + plot_width + 8, y + 4, limit[0]),
        ]
    for number, (name, points) in enumerate(series.items()):
        colour = COLOURS[number % len(COLOURS)]
        path = "L".join(f"{at_x(x):.1f} {at_y(y):.1f}" for x, y in points)
        parts.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        if len(points) <= 12:
            parts += [
                f'<circle cx="{at_x(x):.1f}" cy="{at_y(y):.1f}" r="3" fill="{colour}"/>' for x, y in points
            ]
        y = top + 12 + number * 18
        x = left + plot_width + 12
        offset = 40 if limit is not None and abs(at_y(limit[1]) - y) < 30 else 0
        parts += [
            f'<rect x="{x}" y="{y - 9 + offset}" width="12" height="4" fill="{colour}"/>',
            _text(x + 18, y - 3 + offset, name),
        ]
    return _page(left + plot_width + 190, top + plot_height + 54, parts)


def _step(highest: float) -> float:
    """Between two grid lines: 1, 2 or 5 times a power of ten, four to eight lines."""
    rough = highest / 5
    power = 10 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)


def _number(value: float) -> str:
    if value >= 1_000_000 and value % 100_000 == 0:
        return f"{value / 1e6:g} M"
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"
