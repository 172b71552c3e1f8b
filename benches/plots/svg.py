"""Plots as SVG: bars with whiskers, and lines with whiskers. Nothing but the standard library."""

import math
from html import escape

COLOURS = ["#7a7a7a", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9"]
INK, GRID = "#222222", "#e2e2e2"
FONT = "Helvetica, Arial, 'DejaVu Sans', sans-serif"


class Axis:
    """Places values between 0 and 1, and knows which of them to name."""

    def __init__(self, label, values, form="{:g}".format, log=False, ticks=None):
        self.label, self.form, self.log = label, form, log
        low, high = min(values), max(values)
        if log:
            self.low, self.high = low / 1.3, high * 1.3
            self.ticks = ticks or self._decades()
        else:
            step = self._step(high)
            self.low, self.high = 0, math.ceil(high * 1.02 / step) * step
            self.ticks = [n * step for n in range(round(self.high / step) + 1)]

    def at(self, value):
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)

    def _step(self, high):
        """Such that there are four to ten ticks."""
        size = 10 ** math.floor(math.log10(high))
        return next(size * part for part in (0.2, 0.25, 0.5, 1, 2) if high / (size * part) <= 7)

    def _decades(self):
        """1, 10, 100; and between them 2 and 5 where there are few."""
        powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        narrow = self.high / self.low < 300
        ticks = [10.0**power * n for power in powers for n in ((1, 2, 5) if narrow else (1,))]
        return [tick for tick in ticks if self.low <= tick <= self.high]


class Plot:
    def __init__(self, title, note, width, height):
        self.width, self.height, self.parts = width, height, []
        self.text(16, 26, title, size=16, weight="bold")
        self.text(16, 45, note, size=12, colour="#555555")

    def text(self, x, y, text, size=12, anchor="start", weight="normal", colour=INK, turned=False):
        turn = f' transform="rotate(-90 {x:.1f} {y:.1f})"' if turned else ""
        self.parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" '
            f'font-weight="{weight}" fill="{colour}"{turn}>{escape(text)}</text>'
        )

    def line(self, x1, y1, x2, y2, colour=INK, width=1.0, opacity=1.0):
        self.parts.append(
            f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" '
            f'stroke-width="{width}" stroke-opacity="{opacity}"/>'
        )

    def box(self, x, y, width, height, colour):
        self.parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{colour}"/>'
        )

    def dot(self, x, y, colour):
        self.parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.6" fill="{colour}"/>')

    def legend(self, names, y=66, target=None):
        x = 16
        for name, colour in zip(names, COLOURS, strict=False):
            if not name:
                continue
            self.box(x, y - 9, 11, 11, colour)
            self.text(x + 17, y, name)
            x += 40 + 6.6 * len(name)
        if target:
            self.line(x + 5, y - 11, x + 5, y + 3, width=2.5)
            self.text(x + 14, y, target)

    def save(self, file):
        size = f'width="{self.width}" height="{self.height}"'
        head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="{FONT}"'
        head += f' viewBox="0 0 {self.width} {self.height}">'
        background = f'<rect {size} fill="#ffffff"/>'
        file.write_text("\n".join([head, background, *self.parts, "</svg>", ""]))


def bars(file, title, note, axis, names, groups, target=None, width=820):
    """One group of bars below the other; of dots, where the axis is logarithmic. `groups` are labels with bars of
    (number of the name, value, lowest, highest, target or None)."""
    thick, gap, top, left, right = 15, 14, 86, 210, 90
    height = sum(len(bars) * (thick + 3) + gap for _, bars in groups)
    plot = Plot(title, note, width, top + height + 52)
    plot.legend(names, target=target)
    across = width - left - right
    for tick in axis.ticks:
        x = left + axis.at(tick) * across
        plot.line(x, top, x, top + height, GRID)
        plot.text(x, top + height + 18, axis.form(tick), anchor="middle")
    plot.text(left + across / 2, top + height + 40, axis.label, anchor="middle")
    y = top + gap / 2
    for label, group in groups:
        plot.text(left - 10, y + len(group) * (thick + 3) / 2 + 3, label, anchor="end")
        for number, value, low, high, aim in group:
            middle, end = y + thick / 2, left + axis.at(value) * across
            if axis.log:  # which has no zero for a bar to begin at
                plot.dot(end, middle, COLOURS[number])
            else:
                plot.box(left, y, end - left, thick, COLOURS[number])
            least, most = left + axis.at(low) * across, left + axis.at(high) * across
            plot.line(least, middle, most, middle, width=1.2)
            plot.line(least, middle - 4, least, middle + 4, width=1.2)
            plot.line(most, middle - 4, most, middle + 4, width=1.2)
            after = max(most, end)
            if aim:
                x = left + axis.at(aim) * across
                plot.line(x, y - 2, x, y + thick + 2, width=2.5)
                after = max(after, x)
            plot.text(after + 7, y + thick - 3, axis.form(value))
            y += thick + 3
        y += gap
    plot.line(left, top, left, top + height)
    plot.save(file)


def lines(file, title, note, names, panels, height=380, each=410):
    """Panels side by side. Each is (x axis, y axis, lines), a line is
    (number of the name, whether it is dashed, points of (x, value, lowest, highest))."""
    top, bottom, left, right = 88, 52, 74, 20
    plot = Plot(title, note, each * len(panels), height)
    plot.legend(names)
    up, across = height - top - bottom, each - left - right
    for start, (xs, ys, drawn) in zip(range(0, each * len(panels), each), panels, strict=True):
        place = lambda x, y, begin=start + left, xs=xs, ys=ys: (
            begin + xs.at(x) * across,
            top + up - ys.at(y) * up,
        )
        for tick in ys.ticks:
            _, y = place(xs.low or xs.high, tick)
            plot.line(start + left, y, start + left + across, y, GRID)
            plot.text(start + left - 7, y + 4, ys.form(tick), anchor="end", size=11)
        for tick in xs.ticks:
            x, _ = place(tick, ys.high)
            plot.line(x, top, x, top + up, GRID)
            plot.text(x, top + up + 18, xs.form(tick), anchor="middle", size=11)
        plot.line(start + left, top + up, start + left + across, top + up)
        plot.line(start + left, top, start + left, top + up)
        plot.text(start + left + across / 2, top + up + 40, xs.label, anchor="middle")
        plot.text(start + 16, top + up / 2, ys.label, anchor="middle", turned=True)
        for number, dashed, points in drawn:
            colour = COLOURS[number]
            path = " ".join("{:.1f},{:.1f}".format(*place(x, value)) for x, value, _, _ in points)
            dashes = ' stroke-dasharray="6 4"' if dashed else ""
            plot.parts.append(
                f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"{dashes}/>'
            )
            for x, value, low, high in points:
                plot.line(*place(x, low), *place(x, high), colour, 5, 0.3)
                plot.dot(*place(x, value), colour)
    plot.save(file)
