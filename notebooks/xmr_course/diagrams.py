"""One diagram for each model: what goes in, what comes out, and which equation stands where.

`draw(name)` returns the diagram as a figure, `save_all(folder)` writes all of them as
`diagram_<name>.png`. Sizes on the arrows are those of the papers: `n` items in a batch, `L` words.
Blue is the image's side, orange the sentence's, green what both share, red a loss; the sides are
also told apart by their place, losses by a double frame.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from matplotlib.patches import Circle, Rectangle

from xmr_course.diagram_parts import KINDS, Diagram
from xmr_course.lessons.drawing import draw_arrow, styled
from xmr_lib.errors import DataError
from xmr_lib.figures import BLACK, BLUE, GREEN, GREY, VERMILION, Picture, save


def _ending(d: Diagram, x: float, y: float, upright: bool = False) -> None:
    """All pairs of both sides are compared, and the triplet loss is taken."""
    d.box("scores", "both", x, y, 1.35, 0.95, "cosines of\nall pairs\nin the batch")
    beside = (x, y - 1.75) if upright else (x + 2.1, y)
    words = "triplet loss\nwith the hardest\nnegatives\neqs. 1, 7, 8"
    d.box("loss", "loss", *beside, 1.65, 1.3, words)
    sides = {"leave": "bottom", "enter": "top"} if upright else {}
    d.flow("scores", "loss", "(n, n)", **sides)


def _vsepp() -> Picture:
    d = Diagram(12, 3.6, "VSE++: one vector for an image, one for a sentence")
    top, low = 2.9, 0.6
    d.box("image", "given", 0.55, top, 0.9, 0.7, "image")
    d.box("cnn", "image", 2.75, top, 1.2, 0.7, "CNN, last\nstage: C4")
    d.box("pool", "image", 5.1, top, 1.25, 0.7, "average pool,\nthen length 1")
    d.box("fc", "image", 7.15, top, 1.25, 0.7, "linear layer,\nthen length 1")
    d.box("caption", "given", 0.55, low, 0.9, 0.7, "sentence,\nL words")
    d.box("embed", "text", 2.75, low, 1.2, 0.7, "word vectors\neq. 3")
    d.box("gru", "text", 5.1, low, 1.25, 0.7, "GRU, its last\nstate: eq. 4")
    d.box("norm", "text", 7.15, low, 1.25, 0.7, "scaled to\nlength 1")
    d.flow("image", "cnn", "(n, 3, 224, 224)")
    d.flow("cnn", "pool", "(n, 2048, 7, 7)")
    d.flow("pool", "fc", "(n, 2048)")
    d.flow("caption", "embed", "(n, L)")
    d.flow("embed", "gru", "(n, L, 300)")
    d.flow("gru", "norm", "(n, 1024)")
    _ending(d, 8.95, 1.75)
    d.flow("fc", "scores", "(n, 1024)", enter="top")
    d.flow("norm", "scores", "(n, 1024)", enter="bottom")
    return d.figure


def _rfe() -> Picture:
    d = Diagram(12, 6.0, "RFE: rich image and text representation (after RFE Fig. 2)")
    stages = {"C1": 256, "C2": 512, "C3": 1024, "C4": 2048}
    rows = dict(zip(stages, (5.5, 4.8, 4.1, 3.4), strict=True))
    d.box("image", "given", 0.6, rows["C1"], 0.9, 0.5, "image")
    d.box("I", "image", 6.6, 4.1, 1.3, 3.3, "joined, then\nlength 1\n\n$I_{fea}$: eq. 2")
    for (stage, channels), side in zip(stages.items(), (56, 28, 14, 7), strict=True):
        y = rows[stage]
        words = f"{stage}: (n, {channels}, {side}, {side})"
        d.box(stage, "image", 2.5, y, 1.95, 0.5, words)
        d.box(f"max {stage}", "image", 4.55, y, 1.15, 0.5, "max pool")
        d.flow(stage, f"max {stage}")
        d.flow(f"max {stage}", d.part("I", y), f"(n, {channels})")
    d.box("average C4", "image", 4.55, 2.7, 1.15, 0.5, "average pool")
    d.flow("C4", "average C4", leave="bottom", enter="left")
    d.flow("average C4", d.part("I", 2.7), "(n, 2048)")
    d.flow("image", "C1")
    for source, target in (("C1", "C2"), ("C2", "C3"), ("C3", "C4")):
        d.flow(source, target, leave="bottom", enter="top")
    d.box("f_I", "image", 8.75, 4.1, 1.25, 0.8, "linear $f_{W_I}$,\nthen length 1")
    d.flow("I", "f_I", "(n, 5888)")
    d.box("caption", "given", 0.6, 1.1, 0.9, 0.7, "sentence,\nL words")
    d.box("embed", "text", 2.3, 1.1, 1.2, 0.7, "word vectors\neq. 3")
    d.box("GRU", "text", 4.55, 1.68, 1.3, 0.75, "biGRU, sum of\nlast states:\neqs. 4, 5")
    d.box("average", "text", 4.55, 0.52, 1.3, 0.6, "average over\nreal words")
    d.box(
        "T",
        "text",
        6.6,
        1.1,
        1.3,
        1.9,
        "each part gets\nlength 1,\nthen joined\n\n$T_{fea}$: eq. 6",
    )
    d.box("f_T", "text", 8.75, 1.1, 1.25, 0.8, "linear $f_{W_T}$,\nthen length 1")
    d.flow("caption", "embed", "(n, L)")
    d.flow("embed", "GRU", at=0.3)
    d.flow("embed", "average", at=0.3)
    d.note(3.8, 1.07, "(n, L, 300)", fontsize=9)
    d.flow("GRU", d.part("T", 1.68), "(n, 1024)")
    d.flow("average", d.part("T", 0.52), "(n, 300)")
    d.flow("T", "f_T", "(n, 1324)")
    _ending(d, 10.95, 3.2, upright=True)
    d.flow("f_I", "scores", "(n, 1024)", enter="top")
    d.flow("f_T", "scores", "(n, 1024)", leave="top", enter="left")
    return d.figure


def _scan() -> Picture:
    d = Diagram(12, 5.1, "SCAN, words look at regions (t-i): one score for each pair")
    top, low = 4.4, 0.7
    d.box("image", "given", 0.55, top, 0.95, 0.7, "image,\nK regions")
    d.box("region", "image", 2.75, top, 1.25, 0.7, "linear layer,\nthen length 1")
    d.box("V", "image", 5.0, top, 1.1, 0.7, "regions\n$v_1 … v_K$")
    d.box("caption", "given", 0.55, low, 0.95, 0.7, "sentence,\nL words")
    d.box("embed", "text", 2.75, low, 1.25, 0.7, "word vectors,\nthen biGRU")
    d.box("E", "text", 5.0, low, 1.1, 0.7, "words\n$e_1 … e_L$")
    d.flow("image", "region", "(n, 36, 2048)")
    d.flow("region", "V", "(n, 36, 1024)")
    d.flow("caption", "embed", "(n, L)")
    d.flow("embed", "E", "(n, L, 1024)")
    words = "products $v_i · e_j$\nof all pairs:\n(n, n, 36, L)"
    d.box("products", "both", 5.0, 2.55, 1.6, 0.95, words)
    d.box("even", "both", 7.05, 2.55, 1.45, 0.95, "leaky ReLU,\nlength 1 over\nthe words")
    d.box("alpha", "both", 8.95, 2.55, 1.4, 0.95, "softmax over\nregions, λ1:\nattention $α_{ij}$")
    d.box("attended", "both", 8.95, top, 1.6, 0.7, "attended vector\n$a_j = Σ_i\\, α_{ij} v_i$")
    d.box("cosine", "both", 11.1, 3.2, 1.5, 0.75, "cosine of $e_j$\nand $a_j$")
    d.box("pool", "both", 11.1, 1.95, 1.5, 0.75, "mean (AVG) or\nLSE with λ2")
    d.box("loss", "loss", 11.1, low, 1.5, 0.8, "triplet loss\nRFE eqs. 1, 7, 8")
    d.flow("V", "products", leave="bottom", enter="top")
    d.flow("E", "products", leave="top", enter="bottom")
    d.flow("products", "even")
    d.flow("even", "alpha")
    d.flow("alpha", "attended", leave="top", enter="bottom")
    d.flow("V", "attended", "(n, 36, 1024)")
    d.flow("attended", "cosine", enter="top")
    d.flow("E", "cosine", "(n, L, 1024)", at=0.92)
    d.flow("cosine", "pool", "(n, n, L)", leave="bottom", enter="top")
    d.flow("pool", "loss", "(n, n)", leave="bottom", enter="top")
    return d.figure


def _smfea() -> Picture:
    d = Diagram(12, 6.6, "SMFEA: instances, structured trees and concepts (after SMFEA Fig. 2)")
    middle = 3.3
    d.box("tree", "given", 2.35, middle, 1.7, 0.8, "referral tree of\nthe sentence:\n7 node labels")
    d.box("CE", "loss", 4.95, middle, 1.65, 0.8, "cross-entropy\nof nodes: eq. 18")
    d.box("KL", "loss", 7.2, middle, 1.65, 0.8, "divergence of\nnodes: eq. 19")
    d.box("rank", "loss", 11.05, middle, 1.5, 0.8, "triplet loss\neq. 17")
    d.note(9.2, middle, "eq. 20: the sum\nof eqs. 17, 18, 19")
    sides = (
        ("V", "image", 1, "image", "K regions,\nlinear layer", "eqs. 1–3", "36", "VCS", 15),
        ("S", "text", -1, "sentence", "L words,\nbiGRU, eq. 4", "as eqs. 1–3", "L", "TCS", 16),
    )
    for v, kind, up, given, parts, equations, k, tree, sum_ in sides:
        y = middle + 2.1 * up
        d.box(given, "given", 0.55, y, 0.9, 0.7, given)
        d.box(f"{v} parts", kind, 2.6, y, 1.25, 0.7, parts)
        d.box(f"{v}D", kind, 4.8, y, 1.3, 0.9, f"self-attention\n${v}^D$: {equations}")
        words = f"{tree}-tree, 7 nodes\neqs. 5–11\n${v}^T$: eq. 14"
        d.box(f"{v}T", kind, 7.2, y - 0.7 * up, 1.7, 0.8, words)
        d.box(f"{v}C", kind, 7.2, y + 0.65 * up, 1.7, 0.7, f"attention over\nconcepts: ${v}^C$")
        d.box(f"{v}F", kind, 9.5, y, 1.4, 0.9, f"weighted sum\n${v}^F$: eq. {sum_}")
        d.flow(given, f"{v} parts", "(n, 36, 2048)" if k == "36" else "(n, L)")
        d.flow(f"{v} parts", f"{v}D", f"(n, {k}, d)")
        for part in ("T", "C"):
            d.flow(f"{v}D", f"{v}{part}", at=0.5)
            d.flow(f"{v}{part}", f"{v}F", at=0.5)
        d.flow(f"{v}D", f"{v}F", "(n, d)")
        leave, enter = ("bottom", "top") if up > 0 else ("top", "bottom")
        for loss in ("KL", "CE"):
            d.flow(f"{v}T", loss, leave=leave, enter=enter, at=0.55, dashed=True)
        d.note(7.28, middle + 0.78 * up, f"$y^{v}$: eqs. 12, 13", ha="left")
        d.flow(f"{v}F", "rank", "(n, d)", enter=enter)
    d.flow("sentence", "tree", leave="top", enter="left", dashed=True)
    d.flow("tree", "CE", "(n, 7)", dashed=True)
    d.note(0.1, 0.15, "dashed: in training only; d = 1024", ha="left")
    return d.figure


_PLACES = {1: (0, 0), 2: (1, 1), 3: (2, 0), 4: (3, 2), 5: (4, 0), 6: (5, 1), 7: (6, 0)}
_EDGES = ((1, 2), (3, 2), (5, 6), (7, 6), (2, 4), (6, 4))


def _smfea_trees() -> Picture:
    d = Diagram(12, 7.0, "SMFEA's trees: map, combine, classify, align (after SMFEA Fig. 3)")
    middle = 3.45
    words = (
        "each node names its category (eqs. 12, 13)\n"
        "cross-entropy with the referral tree: eq. 18; divergence between the two: eq. 19"
    )
    d.box("losses", "loss", 5.75, middle, 6.9, 0.75, words)
    for v, kind, up, tree in (("V", "image", 1, "VCS"), ("S", "text", -1, "TCS")):
        frame, filling = KINDS[kind]
        base = middle + up
        at = {n: np.array([2.75 + x, base + 0.95 * up * y]) for n, (x, y) in _PLACES.items()}
        for child, parent in _EDGES:
            away = at[parent] - at[child]
            away = 0.3 * away / np.hypot(*away)
            draw_arrow(d.axes, at[child] + away, at[parent] - away, frame, 1.6)
        for n, place in at.items():
            look = {"facecolor": filling if n % 2 else "white", "edgecolor": frame}
            d.axes.add_patch(Circle(place, 0.28, linewidth=1.8, zorder=2, **look))
            d.axes.text(*place, f"{n}", ha="center", va="center", fontsize=10, zorder=3)
            edges = [place[1] - 0.28 * up, middle + 0.38 * up]
            d.axes.plot([place[0]] * 2, edges, ":", color=VERMILION, linewidth=1.3, zorder=0)
        y = base + 1.3 * up
        words = f"map: eq. 5\n$\\hat{{{v}}}^D_i = {v}^D W_i$\n$i$ = 1 … 7"
        d.box(f"{v} in", kind, 1.0, y, 1.6, 0.95, words)
        d.box(
            f"{v} out", kind, 10.9, y, 1.9, 0.95, f"sum: eq. 14\n${v}^T = Σ_i\\, W_i h_i$\n(n, d)"
        )
        draw_arrow(d.axes, (1.8, y), (2.7, y), GREY, 1.4)
        d.note(2.25, y + 0.14, "(n, 7, d)", fontsize=9)
        draw_arrow(d.axes, (9.05, y), (9.95, y), GREY, 1.4)
        d.note(9.5, y + 0.14, "(n, 7, h)", fontsize=9)
        d.note(4.05, base + 1.95 * up, "combine: eqs. 6–11", color=BLACK)
        d.note(7.4, base + 1.95 * up, f"{tree}-tree", color=BLACK, fontsize=11, fontweight="bold")
    d.note(0.2, middle, "filled: fragments\nwhite: relations", ha="left")
    return d.figure


def _triplet() -> Picture:
    d = Diagram(12, 4.7, "The triplet loss with the hardest negatives (after RFE Fig. 3)")
    scores = np.array(
        [
            [0.82, 0.35, 0.71, 0.10],
            [0.28, 0.64, 0.55, 0.40],
            [0.61, 0.20, 0.77, 0.33],
            [0.15, 0.47, 0.26, 0.58],
        ]
    )
    left, top, cell = 1.0, 3.75, 0.68
    for row, column in np.ndindex(4, 4):
        x, y = left + (column + 0.5) * cell, top - (row + 0.5) * cell
        right, hard = row == column, (row, column) in ((0, 2), (1, 3))
        frame, filling = (GREEN, "#DDF2EA") if right else (VERMILION, "#FBE6DA")
        look = {"facecolor": filling if right or hard else "white", "zorder": 1 + (right or hard)}
        look |= {"edgecolor": frame if right or hard else "#C8C8C8", "linewidth": 1.8}
        d.axes.add_patch(Rectangle((x - cell / 2, y - cell / 2), cell, cell, **look))
        sign = {(0, 2): "▶ ", (1, 3): "▲ "}.get((row, column), "")
        d.axes.text(x, y, f"{sign}{scores[row, column]:.2f}", ha="center", va="center", zorder=3)
    for number in range(4):
        d.note(left - 0.1, top - (number + 0.5) * cell, f"image {number + 1}", ha="right")
        d.note(left + (number + 0.5) * cell, top + 0.14, f"text {number + 1}")
    d.note(
        left + 2 * cell,
        0.62,
        "cosines of a batch (n, n)\n▶ hardest text of image 1\n▲ hardest image of text 4",
    )
    _plane(
        d,
        6.05,
        "s",
        "o",
        "image 1: the anchor",
        "text 1",
        "▶ text 3",
        "$L_{img}$: eq. 7",
        "[mg − 0.82 + 0.71]₊ = 0.09",
    )
    _plane(
        d,
        10.0,
        "o",
        "s",
        "text 4: the anchor",
        "image 4",
        "▲ image 2",
        "$L_{sent}$: eq. 8",
        "[mg − 0.58 + 0.40]₊ = 0.02",
    )
    d.note(8.05, 0.15, "$L_{biTri} = L_{img} + L_{sent}$: eq. 1     mg = 0.2", color=BLACK)
    return d.figure


def _plane(
    d: Diagram,
    x: float,
    anchor: str,
    other: str,
    name: str,
    right: str,
    hardest: str,
    loss: str,
    sum_: str,
) -> None:
    """An anchor among its right partner and wrong ones: what is pulled, and what is pushed."""
    middle = np.array([x, 2.5])
    near, far = 0.75, 1.15
    for radius, line, colour in ((near, ":", GREEN), (far, "--", GREY)):
        d.axes.add_patch(Circle(middle, radius, fill=False, linestyle=line, edgecolor=colour))
    d.note(x, 2.5 + far + 0.11, "margin", fontsize=9)
    spots = [
        middle + r * np.array([np.cos(a), np.sin(a)])
        for r, a in ((near, 0.6), (0.95, 3.9), (1.45, 2.75), (1.5, 5.6), (1.5, 0.05))
    ]
    partner, wrong = spots[0], spots[1]
    draw_arrow(d.axes, partner, middle + 0.3 * (partner - middle), GREEN, 2)
    draw_arrow(d.axes, wrong, wrong + 0.5 * (wrong - middle), VERMILION, 2)
    look = {"linestyle": "none", "zorder": 4}
    d.axes.plot(*middle, anchor, color=BLUE, markersize=14, **look)
    d.axes.plot(*partner, other, color=GREEN, markersize=12, **look)
    d.axes.plot(*wrong, other, color=VERMILION, markersize=12, **look)
    for spot in spots[2:]:
        d.axes.plot(*spot, other, color="#C8C8C8", markersize=10, **look)
    d.note(x, 2.28, name, color=BLUE, va="top", fontsize=9)
    white = {"facecolor": "white", "linewidth": 0, "pad": 1}
    d.note(partner[0] + 0.15, partner[1] + 0.02, right, color=GREEN, ha="left", bbox=white)
    d.note(wrong[0] - 0.15, wrong[1] + 0.12, hardest, color=VERMILION, ha="right", bbox=white)
    d.note(x, 4.2, loss, color=BLACK, fontsize=11)
    d.note(x, 0.6, sum_, color=BLACK)


_DIAGRAMS: dict[str, Callable[[], Picture]] = {
    "vsepp": _vsepp,
    "rfe": _rfe,
    "scan": _scan,
    "smfea": _smfea,
    "smfea_trees": _smfea_trees,
    "triplet_loss": _triplet,
}
NAMES: Sequence[str] = tuple(_DIAGRAMS)


def draw(name: str) -> Picture:
    """The diagram of that name, one of `NAMES`.

    Raises:
        DataError: There is none.
    """
    if name not in _DIAGRAMS:
        raise DataError(f"There is no diagram {name!r}; there are {', '.join(NAMES)}.")
    return styled(_DIAGRAMS[name])()


def save_all(folder: str | Path) -> list[Path]:
    """Writes all diagrams as `diagram_<name>.png` and returns the files."""
    return [save(draw(name), Path(folder) / f"diagram_{name}.png") for name in NAMES]
