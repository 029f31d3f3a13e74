"""Boxes with words and arrows between them: what the models' diagrams are drawn with."""

from __future__ import annotations

import numpy as np
from matplotlib.patches import FancyBboxPatch

from xmr_course.lessons.drawing import draw_arrow, panels
from xmr_lib.figures import BLACK, BLUE, GREEN, GREY, ORANGE, VERMILION

_INK = "#4A4A4A"  # of words outside the boxes
# Frame and filling of each kind of box.
KINDS = {
    "given": (BLACK, "#F4F4F4"),
    "image": (BLUE, "#E3EFF8"),
    "text": (ORANGE, "#FDF1D8"),
    "both": (GREEN, "#DDF2EA"),
    "loss": (VERMILION, "#FBE6DA"),
}


class Diagram:
    """Boxes with words, and arrows between them, on a page measured in inches."""

    def __init__(self, width: float, height: float, title: str) -> None:
        self.figure, self.axes = panels(width, height)
        self.axes.set(xlim=(0, width), ylim=(0, height), aspect="equal")
        self.axes.axis("off")
        self.axes.set_title(title, fontsize=12, fontweight="bold")
        self._boxes: dict[str, tuple[float, float, float, float]] = {}

    def box(
        self, name: str, kind: str, x: float, y: float, width: float, height: float, words: str
    ) -> None:
        """A box with its middle at (x, y)."""
        frame, filling = KINDS[kind]
        corner = x - width / 2, y - height / 2
        look = {"boxstyle": "round,pad=0,rounding_size=0.08", "edgecolor": frame, "linewidth": 1.8}
        self.axes.add_patch(
            FancyBboxPatch(corner, width, height, facecolor=filling, zorder=2, **look)
        )
        if kind == "loss":
            inner = corner[0] + 0.05, corner[1] + 0.05
            look["linewidth"] = 0.8
            self.axes.add_patch(
                FancyBboxPatch(inner, width - 0.1, height - 0.1, fill=False, zorder=3, **look)
            )
        self.axes.text(x, y, words, ha="center", va="center", fontsize=10, zorder=4)
        self._boxes[name] = x, y, width, height

    def note(self, x: float, y: float, words: str, **look: object) -> None:
        """Words outside all boxes."""
        look = {"ha": "center", "va": "center", "fontsize": 9.5, "color": _INK} | look
        self.axes.text(x, y, words, zorder=4, **look)

    def flow(
        self,
        source: str,
        target: str,
        shape: str = "",
        leave: str = "right",
        enter: str = "left",
        at: float = 0.5,
        dashed: bool = False,
    ) -> None:
        """An arrow from box to box, with at most two corners, and the shape of what flows.

        Args:
            source: Box that it leaves.
            target: Box that it enters.
            shape: Written over its longest level part, or beside an upright one.
            leave: Side of the source.
            enter: Side of the target.
            at: Where a corner lies, as a share of the way.
            dashed: For what only takes part in training.
        """
        start, end = self._side(source, leave), self._side(target, enter)
        if leave in ("right", "left") and enter in ("right", "left"):
            middle = start[0] + at * (end[0] - start[0])
            corners = [(middle, start[1]), (middle, end[1])]
        elif leave in ("top", "bottom") and enter in ("top", "bottom"):
            middle = start[1] + at * (end[1] - start[1])
            corners = [(start[0], middle), (end[0], middle)]
        else:
            corners = [(start[0], end[1]) if leave in ("top", "bottom") else (end[0], start[1])]
        straight = min(abs(start[0] - end[0]), abs(start[1] - end[1])) < 1e-9
        path = [start, *([] if straight else corners), end]
        points = np.array(path)
        line = "--" if dashed else "-"
        self.axes.plot(*points.T, line, color=GREY, linewidth=1.4, zorder=1)
        before = next(p for p in points[::-1] if np.hypot(*(p - points[-1])) > 1e-9)
        tip = points[-1] - 0.14 * (points[-1] - before) / np.hypot(*(points[-1] - before))
        draw_arrow(self.axes, tip, points[-1], GREY, 1.4)
        steps = np.abs(np.diff(points, axis=0))
        level = steps[:, 0].max() > 0.3
        part = int(steps[:, 0 if level else 1].argmax())
        x, y = (points[part] + points[part + 1]) / 2
        if level:
            self.note(x, y + 0.04, shape, va="bottom", fontsize=9)
        else:
            self.note(x + 0.06, y, shape, ha="left", fontsize=9)

    def part(self, name: str, y: float) -> str:
        """A place at this height on the left side of a tall box, for an arrow to enter."""
        x, _, width, _ = self._boxes[name]
        self._boxes[f"{name} at {y}"] = x, y, width, 0.0
        return f"{name} at {y}"

    def _side(self, name: str, side: str) -> tuple[float, float]:
        x, y, width, height = self._boxes[name]
        dx, dy = {"right": (0.5, 0), "left": (-0.5, 0), "top": (0, 0.5), "bottom": (0, -0.5)}[side]
        return x + dx * width, y + dy * height
