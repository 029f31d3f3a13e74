"""The command that searches: `search`."""

from __future__ import annotations

import hashlib
import re
import warnings
from pathlib import Path

from xmr_lib.command_line import Positional
from xmr_lib.errors import DataError
from xmr_lib.index import Kind

PICTURES = (".png", ".jpg", ".svg", ".pdf")


def search(
    run: Positional[Path],
    sentence: Positional[str | None] = None,
    image: Path | None = None,
    k: int = 5,
    out: Path | None = None,
    data: str | None = None,
    index: Kind = "exact",
    uri: str | None = None,
    effort: int | None = None,
    split: str | None = None,
    add: tuple[Path, ...] = (),
    remove: tuple[str, ...] = (),
) -> None:
    """Print the top k images for a sentence, or captions for a photo, and save a picture of them.

    Vectors are encoded once and kept in the run's folder; a load that was stopped continues. Where
    an index can miss something, its recall against scoring everything is printed.

    Args:
        run: Folder of a run.
        sentence: What to look for, in quotes.
        image: Any photo, instead of a sentence: captions are searched.
        k: How many to show.
        out: File of the picture; by default a file in the run's folder, named after the query.
        data: Search other pictures than the run's own: a folder, with or without captions.
        index: exact compares with every vector; faiss is for one machine; milvus is Milvus Lite,
            a database in the run's folder, or with --uri a Milvus cluster.
        uri: Of a Milvus cluster, such as http://localhost:19530 (its token: MILVUS_TOKEN), or a
            file that ends in .db.
        effort: Lists that faiss and milvus look into, above 10,000 vectors: more is slower, and
            finds more.
        split: What is searched: a split's name, or all. By default all photographs; of toy scenes
            the split that is reported on.
        add: Pictures, or folders of them, to put into the index; nothing is trained.
        remove: Pictures to take out of the index, by their file names.
    """
    asked = (sentence is not None) + (image is not None)
    if asked > 1 or not (asked or add or remove):
        raise DataError('Give a sentence, as in: search RUN "two dogs in the snow", or --image.')
    if sentence is not None and not sentence.strip():
        raise DataError("The sentence is empty: say what to look for.")
    if k < 1:
        raise DataError(f"--k must be at least 1, not {k}.")
    if out and out.suffix not in PICTURES:
        raise DataError(f"{out}: a picture's name ends in {', '.join(PICTURES)}.")
    if image is not None and not image.is_file():
        raise DataError(f"{image}: there is no such picture.")
    from xmr_lib import runs
    from xmr_lib.index import Index

    try:
        trained = runs.load(run)
    except DataError:
        if data is None:
            raise
        trained = runs.load(run, data=data)  # its own photographs, moved
        data = None
    try:
        with Index(trained, index, data=data, split=split, uri=uri, effort=effort) as found:
            if add:
                _print_changes(found.add_pictures(add))
            if remove:
                found.remove_pictures(remove)
                print(f"Removed: {', '.join(remove)}")
            if asked:
                hits = _print_hits(found, trained, sentence, image, k)
                print(found.report("images" if image is None else "captions"), flush=True)
    except DataError as error:
        readable = not isinstance(error.__cause__, OSError)  # of somebody else, in a course
        if readable or add or remove or data or split or index != "exact":
            raise
        warnings.warn(f"{error} Searched without an index.", stacklevel=1)
        hits = _print_hits(trained, trained, sentence, image, k)
        out = out or Path(_picture_name(sentence, image))
    if asked:
        _draw(sentence, image, hits, out or run / _picture_name(sentence, image))


def _print_hits(searched, trained, sentence: str | None, image: Path | None, k: int) -> list:
    """Prints what a run or an index finds; words that the run does not know are named."""
    if image is None:
        hits = searched.search_images(sentence, k)
    else:
        hits = searched.search_captions(image, k)
    for place, hit in enumerate(hits, start=1):
        line = hit.image_file.name if image is None else hit.caption
        if image is None and not hit.image_file.is_file() and hit.index < trained.data.n_images:
            line += f"  {_first_caption(trained, hit)}"
        print(f"{place:3}  {hit.score:6.3f}  {harmless(line)}")
    if image is None and (unknown := trained.unknown_words_of(sentence)):
        from xmr_lib.data.vocabulary import tokenize

        print(f"{trained.name} never learnt: {', '.join(map(harmless, unknown))}.")
        if set(unknown) == set(tokenize(sentence)):
            print("It knows none of these words: the answers mean nothing.")
    return hits


def _first_caption(trained, hit) -> str:
    """Words for an image of precomputed features, which has no file."""
    place = trained.data.image_files.index(hit.image_file)
    return f"“{trained.data.captions_of(place)[0]}”"


def _draw(sentence: str | None, image: Path | None, hits: list, out: Path) -> None:
    from xmr_lib import figures

    if image is None:
        figure = figures.plot_retrieved_images(harmless(sentence), hits[:50])
    else:
        figure = figures.plot_retrieved_captions(image, hits[:50])
    print(f"Picture: {figures.save(figure, out)}")


def _picture_name(sentence: str | None, image: Path | None) -> str:
    """Another file for each query: `search-two-dogs-1a2b3c4d.png`."""
    query = sentence if image is None else str(image.resolve())
    words = re.sub(r"\W+", "-", sentence if image is None else image.stem).strip("-")[:40]
    return f"search-{words}-{hashlib.sha256(query.encode(errors='replace')).hexdigest()[:8]}.png"


def harmless(text: str) -> str:
    r"""Text without control characters, which could change what a terminal shows.

    >>> harmless("red" + chr(27) + "[31m")
    'red\\x1b[31m'
    """
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _print_changes(changes) -> None:
    """What became of pictures that were to be added."""
    counts = {"added": changes.added, "updated": changes.updated, "unchanged": changes.unchanged}
    print("Pictures: " + ", ".join(f"{len(names)} {what}" for what, names in counts.items()))
    for complaint in changes.broken:
        print(f"Left out: {harmless(complaint)}")
