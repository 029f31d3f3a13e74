"""What words and regions see in each other, to be explored by hand."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from xmr_course.explorers.found import unknown_words
from xmr_course.explorers.shared import Explorer, Still, find_ipywidgets
from xmr_course.lessons.region_drawing import plot_explorer
from xmr_lib.cross_attention import attention_map
from xmr_lib.data.captioned import CaptionedImages
from xmr_lib.data.regions import Regions
from xmr_lib.data.vocabulary import END, START, tokenize
from xmr_lib.errors import DataError
from xmr_lib.figures import Picture
from xmr_lib.models import ScanConfig
from xmr_lib.runs import Run

_NONE = -1  # no word, or no region, is chosen


@dataclass(frozen=True)
class Look:
    """One image and one sentence, and what they see in each other.

    Attributes:
        image_file: The picture.
        boxes: Its regions, `(n_regions, 4)`, shares of the picture.
        words: The sentence's words, with its start and end marks.
        weights: Attention, `(n_words, n_regions)`: adds up to one over the regions for "t-i", over
            the words for "i-t".
        cosines: Of each word (t-i) or region (i-t) with what it attends to.
        score: The model's score of the pair.
    """

    image_file: Path
    boxes: np.ndarray
    words: tuple[str, ...]
    weights: np.ndarray
    cosines: np.ndarray
    score: float


@torch.inference_mode()
def look(run: Run, image: int, caption: int | str = 0, data: CaptionedImages | None = None) -> Look:
    """What a trained SCAN sees in an image for a sentence.

    Args:
        run: A run whose recipe compares regions with words.
        image: Position of the image.
        caption: Which of the image's own captions, or any sentence.
        data: What the position counts in; the reported split by default.

    Raises:
        DataError: The run does not compare parts, the boxes of its regions are unknown, there is no
            such image or caption, or the sentence has no words.
    """
    data = run.report if data is None else data
    _require_boxes(run)
    if not 0 <= image < data.n_images:
        raise DataError(f"There is no image {image}: {data.name} has {data.n_images} here.")
    sentence = caption
    if not isinstance(caption, str):
        own = data.captions_of(image)
        if not 0 <= caption < len(own):
            raise DataError(f"There is no caption {caption}: image {image} has {len(own)}.")
        sentence = own[caption]
    images = run.encoded(data)[0][image : image + 1]
    captions = run.encode_sentences([sentence])
    weights, cosines = attention_map(images.parts.flat, captions.parts.flat, run.model.attention)
    return Look(
        image_file=data.image_files[image],
        boxes=run.features.boxes_of(data)[image][: run.features.counts_of(data)[image]],
        words=(START, *tokenize(sentence), END),
        weights=weights.cpu().numpy(),
        cosines=cosines.cpu().numpy(),
        score=run.score(images, captions).item(),
    )


def attention_explorer(
    run: Run, image: int = 0, caption: int = 0, data: CaptionedImages | None = None
) -> AttentionExplorer | Still:
    """Choose an image and a sentence, then a word to see its regions, or a region for its words.

    Args:
        run: A run whose recipe compares regions with words.
        image: Position of the image to begin with.
        caption: Which of its captions to begin with.
        data: What may be chosen; the reported split by default.

    Returns:
        The explorer; its first picture where ipywidgets is not installed.

    Raises:
        DataError: As for `look`.
    """
    data = run.report if data is None else data
    seen = look(run, image, caption, data)
    if find_ipywidgets() is None:
        return Still(lambda: plot_look(seen, run.name), f"attention of {run.name}")
    return AttentionExplorer(run, data, seen, image, caption)


def plot_look(seen: Look, name: str, word: int | None = None, region: int | None = None) -> Picture:
    """One picture and one sentence: the explorer without its controls.

    Args:
        seen: What is shown.
        name: The model's.
        word: Position of the word that is chosen.
        region: Position of the region that is chosen.
    """
    return plot_explorer(
        seen.image_file,
        seen.boxes,
        seen.words,
        seen.weights,
        word,
        region,
        f"{name}, score {seen.score:.2f}",
    )


@dataclass(eq=False)
class AttentionExplorer(Explorer):
    """Controls with a picture below them; displays itself in a notebook.

    Attributes:
        run: Whose attention is shown.
        data: What may be chosen from.
        seen: What is shown now.
        first_image: Position of the image to begin with.
        first_caption: Which of its captions to begin with.
    """

    run: Run
    data: CaptionedImages
    seen: Look
    first_image: int = 0
    first_caption: int = 0

    def __post_init__(self) -> None:
        widgets = find_ipywidgets()
        self.image = widgets.BoundedIntText(
            self.first_image + 1, min=1, max=self.data.n_images, description="image"
        )
        self.caption = widgets.Dropdown(description="caption")
        self.own = widgets.Text(
            description="your own", placeholder="any sentence, then Enter", continuous_update=False
        )
        buttons = {"style": {"button_width": "auto"}}
        self.word = widgets.ToggleButtons(description="word", **buttons)
        self.region = widgets.ToggleButtons(description="region", **buttons)
        controls = {
            "image": (self.image, self._new_image),
            "caption": (self.caption, self._new_caption),
            "sentence": (self.own, self._new_sentence),
            "word": (self.word, self._new_word),
            "region": (self.region, self._new_region),
        }
        self._build("attention-explorer", f"attention explorer of {self.run.name}", controls)
        self._offer_captions(self.first_caption)
        self._offer_parts()
        self._listen()

    def picture(self) -> Picture:
        """What is chosen now, as a figure."""
        word, region = (each if each != _NONE else None for each in self._chosen())
        return plot_look(self.seen, self.run.name, word, region)

    def _chosen(self) -> tuple[int, int]:
        return self.word.value, self.region.value

    def _new_image(self) -> None:
        self.own.value = ""
        self._offer_captions(0)
        self._look(0)

    def _new_caption(self) -> None:
        self.own.value = ""
        self._look(self.caption.value)

    def _new_sentence(self) -> None:
        self._look(self.own.value.strip() or self.caption.value)
        if unknown := unknown_words(self.run, self.seen.words):
            self.say(f"{self.run.name} never learnt: {', '.join(unknown)}.")

    def _new_word(self) -> None:
        self.region.value = _NONE
        self.draw()

    def _new_region(self) -> None:
        self.word.value = _NONE
        self.draw()

    def _look(self, caption: int | str) -> None:
        self.seen = look(self.run, self.image.value - 1, caption, self.data)
        self._offer_parts()

    def _offer_captions(self, chosen: int) -> None:
        own = self.data.captions_of(self.image.value - 1)
        self.caption.options = [(text, number) for number, text in enumerate(own)]
        self.caption.value = chosen

    def _offer_parts(self) -> None:
        """Buttons for the words and regions of what is seen, none of them chosen."""
        self.say()
        words = [(word, number) for number, word in enumerate(self.seen.words)]
        regions = [(f"{number + 1}", number) for number in range(len(self.seen.boxes))]
        for control, options in ((self.word, words), (self.region, regions)):
            control.options = [("none", _NONE), *options]
            control.value = _NONE
        self.draw()


def _require_boxes(run: Run) -> None:
    recipe = getattr(run, "recipe", None)
    if recipe is None or not isinstance(recipe.model, ScanConfig):
        raise DataError(
            f"{run.name} has no attention to show: it does not compare regions with words. Give a "
            'single run of SCAN, as xmr_lib.run("SCAN t-i AVG").'
        )
    if not isinstance(run.features, Regions) or run.features.boxes is None:
        raise DataError(
            f"{run.name}: the boxes of its regions are unknown, so attention cannot be drawn. "
            "Use regions that keep them: regions='grid', 'detector', or a bottom-up .tsv."
        )
