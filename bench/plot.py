# SPDX-License-Identifier: Apache-2.0
"""Two kinds of plots as SVG: lines on logarithmic scales, and bars."""
import math
from xml.sax.saxutils import escape

COLOURS = ["#c2410c", "#2563eb", "#059669", "#7c3aed", "#a16207", "#475569"]
WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 720, 380, 90, 50, 40, 130


def text(x, y, words, anchor="middle", size=12, extra=""):
    return '<text x="%.1f" y="%.1f" text-anchor="%s" font-size="%d" %s>%s</text>' % (x, y, anchor, size, extra, escape(words))


def short(value):
    for limit, sign in ((1e6, "M"), (1e3, "k")):
        if value >= limit:
            return "%g%s" % (round(value / limit, 3), sign)
    return "%g" % round(value, 3)


def write(path, parts, height=HEIGHT):
    head = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" fill="#111">' % (WIDTH, height)
    path.write_text("\n".join([head, '<rect width="100%" height="100%" fill="#fff"/>', *parts, "</svg>", ""]))


class Lines:
    def __init__(self, title, x_title, y_title, labels=None):
        self.title, self.x_title, self.y_title, self.labels, self.lines = title, x_title, y_title, labels, []

    def add(self, name, points):
        self.lines.append((name, [(x, y) for x, y in points if y]))

    def write(self, path):
        points = [p for _, line in self.lines for p in line]
        if not points:
            return
        xs, ys = sorted({x for x, _ in points}), [y for _, y in points]
        low, high = math.floor(math.log10(min(ys))), math.ceil(math.log10(max(ys)) + 1e-9)
        span = math.log2(xs[-1] / xs[0]) or 1

        def at_x(x):
            return LEFT + (WIDTH - LEFT - RIGHT) * math.log2(x / xs[0]) / span

        def at_y(y):
            return HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * (math.log10(y) - low) / (high - low)

        parts = [text(WIDTH / 2, 22, self.title, size=15), text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, self.x_title),
                 text(20, HEIGHT / 2, self.y_title, extra='transform="rotate(-90 20 %d)"' % (HEIGHT / 2))]
        for power in range(low, high + 1):
            y = at_y(10 ** power)
            parts += ['<line x1="%d" x2="%d" y1="%.1f" y2="%.1f" stroke="#ddd"/>' % (LEFT, WIDTH - RIGHT, y, y),
                      text(LEFT - 8, y + 4, short(10 ** power), "end")]
        parts += [text(at_x(x), HEIGHT - BOTTOM + 18, self.labels[i] if self.labels else str(x)) for i, x in enumerate(xs)]
        for i, (name, line) in enumerate(self.lines):
            colour = COLOURS[i % len(COLOURS)]
            path_ = " ".join("%.1f,%.1f" % (at_x(x), at_y(y)) for x, y in line)
            parts += ['<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>' % (path_, colour)]
            parts += ['<circle cx="%.1f" cy="%.1f" r="3" fill="%s"/>' % (at_x(x), at_y(y), colour) for x, y in line]
            parts += [text(WIDTH - RIGHT + 12, TOP + 20 + 20 * i, name, "start", extra='fill="%s"' % colour)]
        write(path, parts)


class Bars:
    def __init__(self, title):
        self.title, self.bars = title, []

    def add(self, name, value):
        if value is not None:
            self.bars.append((name, value))

    def write(self, path):
        most = max([value for _, value in self.bars], default=1)
        parts = [text(WIDTH / 2, 22, self.title, size=15)]
        for i, (name, value) in enumerate(self.bars):
            y, width = TOP + 10 + 34 * i, max(1, (WIDTH - LEFT - RIGHT) * value / most)
            parts += [text(LEFT - 8, y + 17, name, "end"), text(LEFT + width + 8, y + 17, short(value), "start"),
                      '<rect x="%d" y="%d" width="%.1f" height="24" fill="%s"/>' % (LEFT, y, width, COLOURS[i % len(COLOURS)])]
        write(path, parts, TOP + 20 + 34 * len(self.bars))
