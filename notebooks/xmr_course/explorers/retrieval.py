"""Searching by hand: a sentence finds pictures, a picture finds sentences, failures come next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from xmr_course.explorers.found import Found, find_captions, find_images, plot_found
from xmr_course.explorers.shared import Explorer, Still, find_ipywidgets
from xmr_lib.data.captioned import CaptionedImages
from xmr_lib.errors import DataError
from xmr_lib.evaluation import Ranks, Retrieval
from xmr_lib.figures import Picture
from xmr_lib.retriever import Retriever

IMAGES, CAPTIONS = "images", "captions"  # what is searched
DIRECTIONS = {"a sentence finds pictures": IMAGES, "a picture finds sentences": CAPTIONS}
MOST = 10  # answers that can be asked for


def retrieval_explorer(
    runs: Retriever | Sequence[Retriever],
    data: CaptionedImages | None = None,
    k: int = 5,
    sentence: str | None = None,
) -> RetrievalExplorer | Still:
    """Type a sentence or choose a picture, and see what a model finds, framed right or wrong.

    Args:
        runs: A run, an ensemble, or several of them to choose from.
        data: What is searched; the reported split by default.
        k: How many answers.
        sentence: To begin with; the first caption by default.

    Returns:
        The explorer; its first picture where ipywidgets is not installed.

    Raises:
        DataError: There is no run, `k` is below 1, the runs report on different data, or the
            sentence has no words.
    """
    models = _named([runs] if isinstance(runs, Retriever) else list(runs))
    if k < 1:
        raise DataError(f"k = {k}: at least one answer must be shown.")
    first = next(iter(models.values()))
    searched = first.report if data is None else data
    caption = 0 if sentence is None else None
    begin = searched.captions[0] if sentence is None else sentence.strip()
    found = find_images(first, begin, searched, k, caption)
    if find_ipywidgets() is None:
        return Still(lambda: plot_found(found, searched, first.name), f"retrieval by {first.name}")
    return RetrievalExplorer(models, searched, k, found, caption, data is None)


@dataclass(eq=False)
class RetrievalExplorer(Explorer):
    """Controls with a picture below them; displays itself in a notebook.

    Attributes:
        models: Name -> run or ensemble.
        data: What is searched.
        k: How many answers are shown.
        found: What is shown now.
        caption: Position of the caption that is the query; None for a typed sentence.
        reported: Whether `data` is the split that the runs report on, so that their ranks are
            known without computing them again.
    """

    models: dict[str, Retriever] = field(repr=False)
    data: CaptionedImages = field(repr=False)
    k: int
    found: Found
    caption: int | None = 0
    reported: bool = True

    def __post_init__(self) -> None:
        widgets = find_ipywidgets()
        lazy = {"continuous_update": False}
        self.model = widgets.Dropdown(options=list(self.models), description="model")
        self.direction = widgets.ToggleButtons(
            options=list(DIRECTIONS.items()), description="search", style={"button_width": "14em"}
        )
        self.sentence = widgets.Text(
            self.found.query, description="sentence", placeholder="any sentence, then Enter", **lazy
        )
        self.number = widgets.BoundedIntText(
            1, min=1, max=self.data.n_images, description="picture"
        )
        self.file = widgets.Text(
            description="or a file", placeholder="path or name, then Enter", **lazy
        )
        self.answers = widgets.BoundedIntText(
            self.k, min=1, max=max(MOST, self.k), description="answers"
        )
        self.next_failure = widgets.Button(description="next failure", icon="forward")
        self.random = widgets.Button(description="random", icon="random")
        controls = {
            "model": (self.model, self._search),
            "direction": (self.direction, self._new_direction),
            "sentence": (self.sentence, self._new_sentence),
            "number": (self.number, self._new_number),
            "file": (self.file, self._new_file),
            "k": (self.answers, self._new_k),
            "next-failure": (self.next_failure, self._next_failure),
            "random": (self.random, self._random),
        }
        title = f"retrieval explorer of {', '.join(self.models)}"
        self._build("retrieval-explorer", title, controls)
        self._dice = np.random.default_rng(0)
        self._known: dict[str, Retrieval] = {}
        # Where "next failure" goes on: the caption and the image that were chosen last.
        self._last = {IMAGES: -1 if self.caption is None else self.caption, CAPTIONS: 0}
        self._offer_controls()
        self._show()
        self._listen()

    @property
    def image(self) -> int:
        """Position of the picture that is chosen; readers count from 1."""
        return self.number.value - 1

    @property
    def run(self) -> Retriever:
        """The model that is asked."""
        return self.models[self.model.value]

    def picture(self) -> Picture:
        """What is asked and found now, as a figure."""
        return plot_found(self.found, self.data, self.model.value)

    def _search(self) -> None:
        """Answers what the controls hold."""
        if self.direction.value == IMAGES:
            sentence = self.sentence.value.strip()
            found = find_images(self.run, sentence, self.data, self.k, self.caption)
        else:
            file = self.file.value.strip()
            image = Path(file).expanduser() if file else self.image
            found = find_captions(self.run, image, self.data, self.k)
        self._show(found)

    def _show(self, found: Found | None = None) -> None:
        self.found = found or self.found
        self.draw()
        lines = []
        if self.direction.value == IMAGES and self.caption is not None:
            lines.append(f"Caption {self.caption + 1:,} of {self.data.n_captions:,}.")
        if self.direction.value == CAPTIONS and self.found.right is not None:
            name = self.data.image_files[self.image].name
            lines.append(f"Picture {self.number.value:,} of {self.data.n_images:,}: {name}")
        if unknown := self.found.unknown:
            lines.append(f"{self.model.value} never learnt: {', '.join(unknown)}.")
        self.say(*lines)

    def _new_sentence(self) -> None:
        self.caption = None
        self._search()

    def _new_number(self) -> None:
        self.file.value = ""
        self._last[CAPTIONS] = self.image
        self._search()

    def _new_file(self) -> None:
        """A picture of the test set is chosen by its number, so that its captions are known."""
        asked, files = self.file.value.strip(), self.data.image_files
        same = [n for n, file in enumerate(files) if asked in (str(file), file.name)]
        if len(same) == 1:
            self.number.value, self.file.value = same[0] + 1, ""
            self._new_number()
        else:
            self._search()

    def _new_k(self) -> None:
        self.k = self.answers.value
        self._search()

    def _new_direction(self) -> None:
        self._offer_controls()
        self._search()

    def _offer_controls(self) -> None:
        """Only those of the side that asks."""
        of_sentence = self.direction.value == IMAGES
        for control in (self.sentence, self.number, self.file):
            shown = (control is self.sentence) == of_sentence
            control.layout.display = None if shown else "none"

    def _asked(self, query: int) -> Found:
        """The answer to a caption, or an image, of the test set."""
        if self.direction.value == IMAGES:
            return find_images(self.run, self.data.captions[query], self.data, self.k, query)
        return find_captions(self.run, query, self.data, self.k)

    def _choose(self, query: int, found: Found) -> None:
        """Puts a query of the test set into the controls, and shows its answer."""
        self._last[self.direction.value] = query
        if self.direction.value == IMAGES:
            self.caption, self.sentence.value = query, self.data.captions[query]
        else:
            self.number.value, self.file.value = query + 1, ""
        self._show(found)

    def _random(self) -> None:
        of_sentence = self.direction.value == IMAGES
        query = int(
            self._dice.integers(self.data.n_captions if of_sentence else self.data.n_images)
        )
        self._choose(query, self._asked(query))

    def _next_failure(self) -> None:
        """Goes to the next query whose first answer is wrong; the first follows the last."""
        ranks = self._ranks()
        # Under ties only the search itself says which of the best comes first.
        doubtful = np.flatnonzero((ranks.greater > 0) | (ranks.tied > 0))
        start = np.searchsorted(doubtful, self._last[self.direction.value], side="right")
        for query in np.roll(doubtful, -start).tolist():
            found = self._asked(query)
            if not found.success:
                self._choose(query, found)
                return
        what = "sentence" if self.direction.value == IMAGES else "picture"
        self.say(f"No failures: {self.model.value} puts a right answer first for every {what}.")

    def _ranks(self) -> Ranks:
        """Of the queries of the chosen direction, by the chosen model."""
        name = self.model.value
        if name not in self._known:
            known = self.reported
            self._known[name] = (
                self.run.retrieval if known else self.run.evaluate("all", self.data)[0]
            )
        return self._known[name].t2i if self.direction.value == IMAGES else self._known[name].i2t


def _named(runs: Sequence[Retriever]) -> dict[str, Retriever]:
    """Each model under a name of its own; seeds tell runs of one recipe apart.

    Raises:
        DataError: There is none, or they report on different data.
    """
    if not runs:
        raise DataError("There is nothing to explore: give a run, an ensemble, or a list of them.")
    first, *others = (run.report for run in runs)
    for run, other in zip(runs[1:], others, strict=True):
        if other.captions != first.captions or other.image_files != first.image_files:
            raise DataError(
                f"{runs[0].name} and {run.name} report on different data ({first.name}, "
                f"{other.name}): give each an explorer of its own."
            )
    named: dict[str, Retriever] = {}
    twice = {run.name for run in runs if sum(other.name == run.name for other in runs) > 1}
    for number, run in enumerate(runs, start=1):
        name = run.name
        if name in twice:
            name += f", seed {run.seed}" if hasattr(run, "seed") else f" ({number})"
        named[f"{name} ({number})" if name in named else name] = run
    return named
