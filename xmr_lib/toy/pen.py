"""Colours, and the pen that draws a thing into its box."""

from __future__ import annotations

from PIL import Image, ImageDraw

from xmr_lib.toy.scene import Thing

RGB = tuple[int, int, int]
FINE = 2  # drawn this many times larger, then reduced, for clean edges
RIM = 2  # width of the dark rim on the fine canvas

PALETTE: dict[str, RGB] = {
    "red": (214, 48, 49),
    "blue": (58, 110, 220),
    "green": (52, 160, 72),
    "yellow": (248, 208, 56),
    "orange": (242, 136, 38),
    "purple": (142, 74, 184),
    "pink": (247, 146, 184),
    "brown": (142, 90, 52),
    "black": (54, 54, 60),
    "white": (246, 246, 242),
    "grey": (150, 154, 160),
}
INK, GLASS, WOOD = (34, 32, 38), (190, 226, 244), (120, 78, 46)
SKIN = ((250, 214, 182), (228, 178, 136), (176, 120, 80), (116, 76, 52))
HAIR = {"black": (44, 36, 34), "brown": (112, 68, 36), "blond": (240, 206, 104)}


def hair_of(look: int) -> str:
    """Colour of a person's hair."""
    return tuple(HAIR)[look % len(HAIR)]


def shade(colour: RGB, percent: int) -> RGB:
    """Darker below 100 per cent, lighter (towards white) above."""
    if percent <= 100:
        return tuple(channel * percent // 100 for channel in colour)
    return tuple(channel + (255 - channel) * (percent - 100) // 100 for channel in colour)


class Pen:
    """Draws in units of a hundredth of a box, on a transparent layer of its own."""

    def __init__(self, thing: Thing) -> None:
        left, top, right, bottom = thing.box
        self.width, self.height = (right - left) * FINE, (bottom - top) * FINE
        self.flip = thing.facing == "left"
        self.layer = Image.new("RGBA", (self.width, self.height), (0, 0, 0, 0))
        self._draw = ImageDraw.Draw(self.layer)

    def _at(self, x: int, y: int) -> tuple[int, int]:
        inner_w, inner_h = self.width - 2 * RIM - 1, self.height - 2 * RIM - 1
        x = 100 - x if self.flip else x
        return RIM + inner_w * x // 100, RIM + inner_h * y // 100

    def poly(self, colour: RGB, *points: tuple[int, int]) -> None:
        """Filled polygon."""
        self._draw.polygon([self._at(*point) for point in points], fill=(*colour, 255))

    def line(self, colour: RGB, width: int, *points: tuple[int, int]) -> None:
        """Open line with round ends; `width` in hundredths of the box's shorter edge."""
        thick = max(FINE, min(self.width, self.height) * width // 100)
        ends = [self._at(*point) for point in points]
        self._draw.line(ends, fill=(*colour, 255), width=thick, joint="curve")
        for x, y in ends:
            r = (thick - 1) // 2
            self._draw.ellipse((x - r, y - r, x + r, y + r), fill=(*colour, 255))

    def _corners(self, x0: int, y0: int, x1: int, y1: int) -> tuple[int, int, int, int]:
        (ax, ay), (bx, by) = self._at(x0, y0), self._at(x1, y1)
        return min(ax, bx), min(ay, by), max(ax, bx), max(ay, by)

    def oval(self, colour: RGB, x0: int, y0: int, x1: int, y1: int) -> None:
        """Filled ellipse."""
        self._draw.ellipse(self._corners(x0, y0, x1, y1), fill=(*colour, 255))

    def ring(self, colour: RGB, width: int, x0: int, y0: int, x1: int, y1: int) -> None:
        """Ellipse that is not filled."""
        thick = max(FINE, min(self.width, self.height) * width // 100)
        self._draw.ellipse(self._corners(x0, y0, x1, y1), outline=(*colour, 255), width=thick)

    def pie(self, colour: RGB, x0: int, y0: int, x1: int, y1: int) -> None:
        """Upper half of an ellipse."""
        self._draw.pieslice(self._corners(x0, y0, x1, y1), 180, 360, fill=(*colour, 255))

    def rect(self, colour: RGB, x0: int, y0: int, x1: int, y1: int, radius: int = 0) -> None:
        """Filled rectangle, with round corners of `radius` hundredths of the shorter edge."""
        radius = min(self.width, self.height) * radius // 100
        box = self._corners(x0, y0, x1, y1)
        self._draw.rounded_rectangle(box, radius, fill=(*colour, 255))

    def dot(self, colour: RGB, x: int, y: int, size: int) -> None:
        """A round dot, however the box is stretched; diameter as widths of lines."""
        cx, cy = self._at(x, y)
        r = max(FINE, min(self.width, self.height) * size // 100) // 2
        self._draw.ellipse((cx - r, cy - r, cx + r, cy + r), fill=(*colour, 255))
