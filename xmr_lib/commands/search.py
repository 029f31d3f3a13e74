"""The command that searches: `search`."""

from __future__ import annotations

import errno
import warnings
from pathlib import Path

from xmr_lib.command_line import Positional
from xmr_lib.errors import DataError
from xmr_lib.index.kinds import Kind

READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS)
PICTURES = (".png", ".jpg", ".svg", ".pdf")


def search(
    run: Positional[Path],
    sentence: Positional[str | None] = None,
    image: Path | None = None,
    k: int = 5,
    out: Path | None = None,
    index: Kind = "exact",
    uri: str | None = None,
    effort: int | None = None,
    split: str | None = None,
    add: tuple[Path, ...] = (),
    remove: tuple[str, ...] = (),
) -> None:
    """Print the top k images for a sentence, or captions for a photo, and save a picture of them.

    Vectors are encoded once and kept in the run's folder; a load that was stopped goes on. Indexes
    that are not exact say how often they find what exact search finds (recall).

    Args:
        run: Folder of a run.
        sentence: What to look for, in quotes.
        image: Any photo, instead of a sentence.
        k: How many to show.
        out: File of the picture; search.png in the run's folder by default.
        index: exact compares with every vector; faiss is for one machine; milvus is Milvus Lite,
            a database in the run's folder, or with --uri a Milvus cluster.
        uri: Of a Milvus cluster, such as http://localhost:19530 (its token: MILVUS_TOKEN), or a
            file that ends in .db.
        effort: Lists that faiss and milvus look into, above 10,000 vectors: more is slower, and
            finds more.
        split: What is searched: a split's name, or all; by default the split that is reported on.
        add: Pictures, or folders of them, to put into the index; nothing is trained.
        remove: Pictures to take out of the index, by their file names.
    """
    from xmr_lib import runs

    asked = (sentence is not None) + (image is not None)
    if asked > 1 or not (asked or add or remove):
        raise DataError('Give a sentence, as in: search RUN "two dogs in the snow", or --image.')
    if k < 1:
        raise DataError(f"--k must be at least 1, not {k}.")
    if out and out.suffix not in PICTURES:
        raise DataError(f"{out}: a picture's name ends in {', '.join(PICTURES)}.")
    trained = runs.load(run)
    plain = index == "exact" and not (uri or add or remove or split)
    if plain and not trained.compares_vectors:
        _show(trained, sentence, image, k, out or run / "search.png")
        return
    from xmr_lib.index import RunIndex

    try:
        with RunIndex(trained, index, split=split, uri=uri, effort=effort) as found:
            if remove:
                found.remove_pictures(remove)
                print(f"Removed: {', '.join(remove)}")
            if add:
                _print_changes(found.add_pictures(add))
            if asked:
                _show(found, sentence, image, k, out or run / "search.png")
            if asked and index != "exact":
                print(found.report("images" if image is None else "captions"))
    except OSError as error:
        if error.errno not in READ_ONLY:
            raise
        if not plain:
            raise DataError(f"{run}: the index cannot be written ({error}).") from None
        # somebody else's run, in a course for instance
        warnings.warn(f"{run}: cannot be written; searched without an index.", stacklevel=1)
        _show(trained, sentence, image, k, out or Path("search.png"))


def _show(searched, sentence: str | None, image: Path | None, k: int, out: Path) -> None:
    """Prints and draws what a run or an index finds."""
    from xmr_lib import figures

    if image is None:
        hits = searched.search_images(sentence, k)
        figure = figures.plot_retrieved_images(sentence, hits)
        lines = [hit.image_file.name for hit in hits]
    else:
        hits = searched.search_captions(image, k)
        figure = figures.plot_retrieved_captions(image, hits)
        lines = [hit.caption for hit in hits]
    for place, (hit, line) in enumerate(zip(hits, lines, strict=True), start=1):
        print(f"{place:3}  {hit.score:6.3f}  {line}")
    print(f"Picture: {figures.save(figure, out)}")


def _print_changes(changes) -> None:
    """What became of pictures that were to be added."""
    counts = {"added": changes.added, "updated": changes.updated, "unchanged": changes.unchanged}
    print("Pictures: " + ", ".join(f"{len(names)} {what}" for what, names in counts.items()))
    for complaint in changes.broken:
        print(f"Left out: {complaint}")
