"""The triplet loss in a batch that fits on a circle: turn the margin, move a point, take a step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.patches import Arc, Circle, Rectangle
from torch import Tensor

from xmr_course.explorers.shared import Explorer, Still, find_ipywidgets
from xmr_course.lessons.drawing import draw_table
from xmr_lib.errors import DataError
from xmr_lib.figures import BLACK, GREEN, GREY, ORANGE, PALETTE, VERMILION, Picture, style
from xmr_lib.losses import Negatives, hardest_negatives, plateau, triplet_loss
from xmr_lib.similarity import cosine_similarity

MOST = 6  # pairs that can still be told apart on a circle
RATE = 0.2  # of a step, in radians per unit of the gradient
_RADII = (1.0, 0.8)  # of the circles that images and captions are drawn on
_SIGN = {"color": "white", "markeredgecolor": BLACK, "markersize": 7}
SIDES = {"image": "■", "caption": "●"}


def margin_playground(margin: float = 0.2, pairs: int = 5) -> MarginPlayground | Still:
    """A batch of pairs on a circle: who is whose hardest negative, and what loss that makes.

    Args:
        margin: To begin with, 0 to 1.
        pairs: Images with one caption each, 2 to 6.

    Returns:
        The playground; its first picture where ipywidgets is not installed.

    Raises:
        DataError: The margin is not between 0 and 1, or there are too few or too many pairs.
    """
    if not 0 <= margin <= 1:
        raise DataError(f"margin = {margin}: give a number between 0 and 1.")
    batch = CircleBatch.spread(pairs, margin)
    if find_ipywidgets() is None:
        return Still(lambda: plot_batch(batch, *batch.worst()), "margin playground")
    return MarginPlayground(batch)


@dataclass
class CircleBatch:
    """Pairs of an image and a caption, as unit vectors of two dimensions.

    Attributes:
        angles: Where images (first row) and captions (second row) lie, in degrees, `(2, b)`.
        margin: `mg` of RFE eqs. 7 and 8.
        negatives: Which negatives pull in a step.
    """

    angles: np.ndarray
    margin: float = 0.2
    negatives: Negatives = "hardest"

    @classmethod
    def spread(cls, pairs: int, margin: float = 0.2) -> CircleBatch:
        """Images all around the circle, each caption somewhere near its image.

        Raises:
            DataError: A batch of one pair has no negatives, one of more than six no room.
        """
        if not 2 <= pairs <= MOST:
            raise DataError(f"{pairs} pairs: give 2 to {MOST}. One pair alone has no negative.")
        images = np.arange(pairs) * 360 / pairs
        away = np.random.default_rng(133).uniform(-75, 75, MOST)[:pairs]
        return cls(_wrapped(np.round(np.stack([images, images + away]))), margin)

    def __len__(self) -> int:
        return self.angles.shape[1]

    @property
    def scores(self) -> Tensor:
        """Cosines, `(b, b)`, images in rows."""
        return _cosines(torch.from_numpy(np.deg2rad(self.angles)))

    def loss(self, negatives: Negatives) -> float:
        """Of the whole batch (RFE eq. 1)."""
        return float(sum(triplet_loss(self.scores, self.margin, negatives).values()))

    def loss_of_anchors(self, negatives: Negatives) -> np.ndarray:
        """What each anchor adds to the loss: images in the first row, captions in the second.

        The loss is asked for one anchor at a time: all others' negatives are called right.
        """
        scores, found = self.scores, np.zeros((2, len(self)))
        for anchor in range(len(self)):
            for side, name in enumerate(("L_img", "L_sent")):
                right = torch.ones(len(self), len(self), dtype=torch.bool)
                right[(anchor, slice(None)) if side == 0 else (slice(None), anchor)] = False
                found[side, anchor] = triplet_loss(scores, self.margin, negatives, right)[name]
        return found

    def hardest(self) -> np.ndarray:
        """The hardest caption of each image (first row), the hardest image of each caption."""
        return torch.stack(hardest_negatives(self.scores)).numpy()

    def worst(self) -> tuple[int, int]:
        """Side and number of the anchor with the largest hinge."""
        hinges = self.loss_of_anchors("hardest")
        return divmod(int(hinges.argmax()), len(self))

    def gradient(self) -> np.ndarray:
        """Slope of the loss along the circle, per radian, `(2, b)`."""
        angles = torch.from_numpy(np.deg2rad(self.angles)).requires_grad_()
        loss = sum(triplet_loss(_cosines(angles), self.margin, self.negatives).values())
        return torch.autograd.grad(loss, angles)[0].numpy()

    def step(self) -> None:
        """Moves every point a little downhill."""
        self.angles = _wrapped(self.angles - np.rad2deg(RATE * self.gradient()))

    def collapse(self) -> None:
        """Puts everything on one point, as a stuck training does."""
        self.angles = np.full_like(self.angles, 90.0)


def _wrapped(degrees: np.ndarray) -> np.ndarray:
    """The same angles from -180 to 180."""
    return (degrees + 180) % 360 - 180


def _cosines(angles: Tensor) -> Tensor:
    vectors = torch.stack([angles.cos(), angles.sin()], dim=-1)  # (2, b, 2)
    return cosine_similarity(*vectors)


def plot_batch(batch: CircleBatch, side: int = 0, anchor: int = 0) -> Picture:
    """The circle, the scores, and each anchor's loss: the playground without its controls.

    Args:
        batch: What is shown.
        side: 0 if the chosen anchor is an image, 1 if it is a caption.
        anchor: Which one.
    """
    with mpl.rc_context(style()):
        # A fixed layout: computing one would double the time of each turn.
        figure = Picture(figsize=(9.6, 6.4))
        grid = figure.add_gridspec(
            2,
            2,
            left=0.005,
            right=0.985,
            top=0.88,
            bottom=0.08,
            wspace=0.12,
            hspace=0.42,
            width_ratios=(1.25, 1),
        )
        circle, table, bars = (figure.add_subplot(grid[at]) for at in (np.s_[:, 0], (0, 1), (1, 1)))
        _draw_circle(circle, batch, side, anchor)
        _draw_scores(table, batch)
        _draw_losses(bars, batch)
        figure.suptitle(in_words(batch, side, anchor), fontsize=10.5)
    return figure


def in_words(batch: CircleBatch, side: int, anchor: int) -> str:
    """The hinge of one anchor, number by number."""
    scores = batch.scores if side == 0 else batch.scores.T
    other = int(batch.hardest()[side, anchor])
    own, wrong = float(scores[anchor, anchor]), float(scores[anchor, other])
    hinge = batch.loss_of_anchors("hardest")[side, anchor]
    signs, names = list(SIDES.values()), list(SIDES)
    return (
        f"{signs[side]}{anchor + 1}: its {names[1 - side]} {own:.2f}, its hardest negative "
        f"{signs[1 - side]}{other + 1} {wrong:.2f}, hinge "
        f"[{batch.margin:.2f} − {own:.2f} + {wrong:.2f}]₊ = {hinge:.2f}"
    ).replace("-", "−")


def _draw_circle(axes: Axes, batch: CircleBatch, side: int, anchor: int) -> None:
    # Points of the plane as complex numbers. Only their angles count: captions lie on an inner
    # circle so that they can be seen beside their image.
    places = np.array(_RADII)[:, None] * np.exp(1j * np.deg2rad(batch.angles))
    for radius in _RADII:
        axes.add_patch(Circle((0, 0), radius, fill=False, edgecolor="#CFCFCF"))
    _draw_danger(axes, batch, side, anchor)
    pull = -batch.gradient()
    for pair in range(len(batch)):
        colour = PALETTE[pair % len(PALETTE)]
        ends = places[:, pair]
        axes.plot(ends.real, ends.imag, color=colour, linewidth=1.4)
        for row, marker in enumerate("so"):
            chosen = (row, pair) == (side, anchor)
            axes.plot(
                ends[row].real,
                ends[row].imag,
                marker,
                color=colour,
                markersize=15,
                markeredgecolor=BLACK if chosen else "white",
                markeredgewidth=2.4 if chosen else 1,
                zorder=8 if chosen else 4,
            )
            axes.text(
                ends[row].real,
                ends[row].imag,
                str(pair + 1),
                color="white",
                ha="center",
                va="center",
                fontsize=8.5,
                fontweight="bold",
                zorder=9 if chosen else 5,
            )
            if abs(pull[row, pair]) > 1e-6:
                start = (1.17, 0.79)[row] * ends[row]  # outside, inside
                end = start * np.exp(1j * 0.28 * np.clip(pull[row, pair], -1.5, 1.5))
                axes.annotate(
                    "",
                    (end.real, end.imag),
                    (start.real, start.imag),
                    arrowprops={"arrowstyle": "->", "color": colour, "lw": 1.8},
                )
    other = places[1 - side, batch.hardest()[side, anchor]]
    own = places[side, anchor]
    axes.plot(
        [own.real, other.real],
        [own.imag, other.imag],
        ":",
        color=VERMILION,
        linewidth=2.2,
    )
    axes.set(xlim=(-1.45, 1.45), ylim=(-1.45, 1.45), aspect="equal")
    axes.set_title(f"■ images, ● captions, → pull of the loss ({batch.negatives})", fontsize=9.5)
    axes.axis("off")


def _draw_danger(axes: Axes, batch: CircleBatch, side: int, anchor: int) -> None:
    """The arc around an anchor in which a wrong partner makes loss."""
    own = float(batch.scores[anchor, anchor])
    reach = float(np.rad2deg(np.arccos(np.clip(own - batch.margin, -1, 1))))
    middle, across = batch.angles[side, anchor], 2 * _RADII[1 - side]
    axes.add_patch(
        Arc(
            (0, 0),
            across,
            across,
            theta1=middle - reach,
            theta2=middle + reach,
            color=VERMILION,
            linewidth=9,
            alpha=0.25,
        )
    )
    mine, theirs = list(SIDES.values())[:: 1 if side == 0 else -1]
    axes.text(
        0,
        -1.42,
        f"in the broad arc a wrong {theirs} makes loss for the framed {mine}",
        ha="center",
        fontsize=8.5,
        color=VERMILION,
    )


def _draw_scores(axes: Axes, batch: CircleBatch) -> None:
    numbers = range(1, len(batch) + 1)
    draw_table(axes, batch.scores.numpy(), [f"■{n}" for n in numbers], [f"●{n}" for n in numbers])
    captions, images = batch.hardest()
    for n in range(len(batch)):
        axes.add_patch(Rectangle((n, n), 1, 1, fill=False, edgecolor=GREEN, linewidth=2.4))
        axes.plot(captions[n] + 0.1, n + 0.5, ">", **_SIGN)
        axes.plot(n + 0.5, images[n] + 0.86, "^", **_SIGN)
    axes.set_xlabel("▶ hardest caption of the image,\n▲ hardest image of the caption", fontsize=9)
    axes.set_title("cosines; right pairs are framed", fontsize=9.5)


def _draw_losses(axes: Axes, batch: CircleBatch) -> None:
    """Each anchor's loss with all negatives, and in front of it with the hardest one."""
    places = np.arange(2 * len(batch))
    every, hardest = (batch.loss_of_anchors(kind).ravel() for kind in ("all", "hardest"))
    bound = plateau(len(batch), batch.margin)
    sums = {kind: batch.loss(kind) for kind in get_args(Negatives)}
    axes.bar(
        places,
        every,
        0.8,
        color=ORANGE,
        alpha=0.55,
        hatch="///",
        edgecolor="white",
        label=f"all negatives: {sums['all']:.2f} together",
    )
    axes.bar(
        places, hardest, 0.42, color=VERMILION, label=f"hardest: {sums['hardest']:.2f} together"
    )
    axes.axhline(
        batch.margin,
        color=GREY,
        linestyle="--",
        linewidth=1.2,
        label=f"margin: if all collapses, 2·B·margin = {bound:.2f} together",
    )
    names = [f"{sign}{n + 1}" for sign in SIDES.values() for n in range(len(batch))]
    axes.set_xticks(places, names, fontsize=8.5)
    axes.set(xlabel="anchor", ylabel="hinges", ylim=(0, 1.45 * max(every.max(), batch.margin, 0.1)))
    axes.set_title("what each anchor adds to the loss", fontsize=9.5)
    axes.legend(fontsize=8, loc="upper right")
    axes.grid(axis="x", visible=False)


@dataclass(eq=False)
class MarginPlayground(Explorer):
    """Controls with a picture below them; displays itself in a notebook.

    Attributes:
        batch: What is shown.
    """

    batch: CircleBatch

    def __post_init__(self) -> None:
        widgets = find_ipywidgets()
        self._first = self.batch.angles.copy()
        points = [
            (f"{sign}{n + 1} ({name} {n + 1})", (side, n))
            for side, (name, sign) in enumerate(SIDES.items())
            for n in range(len(self.batch))
        ]
        lazy = {"continuous_update": False}
        self.margin = widgets.FloatSlider(
            self.batch.margin, min=0, max=1, step=0.05, description="margin", **lazy
        )
        self.point = widgets.Dropdown(options=points, value=self.batch.worst(), description="point")
        self.angle = widgets.IntSlider(0, min=-180, max=180, description="angle", **lazy)
        self.negatives = widgets.ToggleButtons(
            options=get_args(Negatives), description="negatives", style={"button_width": "6em"}
        )
        self.take_step = widgets.Button(description="step", icon="arrow-down")
        self.collapse = widgets.Button(description="collapse", icon="compress")
        self.reset = widgets.Button(description="reset", icon="undo")
        controls = {
            "margin": (self.margin, self._read),
            "point": (self.point, self._show),
            "angle": (self.angle, self._read),
            "negatives": (self.negatives, self._read),
            "step": (self.take_step, self._step),
            "collapse": (self.collapse, self._collapse),
            "reset": (self.reset, self._reset),
        }
        self._build("margin-playground", "margin playground", controls)
        self._show()
        self._listen()

    def picture(self) -> Picture:
        """What is chosen now, as a figure."""
        return plot_batch(self.batch, *self.point.value)

    def _read(self) -> None:
        """Takes over what the sliders say."""
        self.batch.margin = round(self.margin.value, 2)
        self.batch.negatives = self.negatives.value
        self.batch.angles[self.point.value] = self.angle.value
        self._show()

    def _show(self) -> None:
        self.angle.value = round(self.batch.angles[self.point.value])
        self.draw()

    def _step(self) -> None:
        self.batch.step()
        self._show()

    def _collapse(self) -> None:
        self.batch.collapse()
        self._show()

    def _reset(self) -> None:
        self.batch.angles = self._first.copy()
        self._show()
