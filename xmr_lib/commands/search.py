"""The command that searches: `search`."""

from __future__ import annotations

from pathlib import Path

from xmr_lib.commands.shared import Positional
from xmr_lib.errors import DataError

PICTURES = (".png", ".jpg", ".svg", ".pdf")


def search(
    run: Positional[Path],
    sentence: Positional[str | None] = None,
    image: Path | None = None,
    k: int = 5,
    out: Path | None = None,
) -> None:
    """Print the top k images for a sentence, or captions for a photo, and save a picture of them.

    Args:
        run: Folder of a run.
        sentence: What to look for, in quotes.
        image: Any photo, instead of a sentence.
        k: How many to show.
        out: File of the picture; search.png in the run's folder by default.
    """
    from xmr_lib import figures, runs

    if (sentence is None) == (image is None):
        raise DataError('Give a sentence, as in: search RUN "two dogs in the snow", or --image.')
    if k < 1:
        raise DataError(f"--k must be at least 1, not {k}.")
    if out and out.suffix not in PICTURES:
        raise DataError(f"{out}: a picture's name ends in {', '.join(PICTURES)}.")
    trained = runs.load(run)
    if image is None:
        hits = trained.search_images(sentence, k)
        figure = figures.plot_retrieved_images(sentence, hits)
        lines = [hit.image_file.name for hit in hits]
    else:
        hits = trained.search_captions(image, k)
        figure = figures.plot_retrieved_captions(image, hits)
        lines = [hit.caption for hit in hits]
    for place, (hit, line) in enumerate(zip(hits, lines, strict=True), start=1):
        print(f"{place:3}  {hit.score:6.3f}  {line}")
    print(f"Picture: {figures.save(figure, out or run / 'search.png')}")
