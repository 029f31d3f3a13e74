"""The index of a run: its pictures and captions, kept in its folder and brought up to date.

Below `index/` in the run's folder, each part that was searched has a folder of its own, with
`pictures.json` (which pictures were added and removed) and the vectors of its images and of its
captions. Each search compares what an index holds with what it should hold, takes out what is
too much and encodes what is missing; so a killed load continues, and a changed picture is noticed.
"""

from __future__ import annotations

import hashlib
import shutil
import warnings
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from xmr_lib.data.captioned import CaptionedImages
from xmr_lib.errors import DamagedFileError, DataError, UnknownNameError
from xmr_lib.files import load_tensors, locked, save_tensors
from xmr_lib.index import KINDS, Kind
from xmr_lib.index.collection import (
    Changes,
    Collection,
    Side,
    common_folder,
    find_files,
    image_id,
    read_json,
    short_hash,
    unreadable,
    write_json,
)
from xmr_lib.index.recall import measure
from xmr_lib.index.vectors import ExactIndex, Neighbours, VectorIndex
from xmr_lib.retrieval import Hit
from xmr_lib.retriever import Retriever
from xmr_lib.similarity import Encoded, l2norm
from xmr_lib.sources import DataSource

SHORTLIST = 500  # items that a model of parts scores again, for each query
_QUERIES = 200  # whose answers recall is measured by
_PAIRS = 2_000_000  # scored at most to measure the recall of a shortlist
_CENTRE = 500  # images whose mean is taken for the mean of all
_BATCH = 2048  # items encoded at once; each batch is on disk before the next begins


class Index:
    """Pictures and captions of a run, encoded once and searched many times.

    What is not there yet is encoded at the first search; several processes may use the same index.
    Models that compare parts (SCAN) are searched in two steps: the index finds a shortlist by one
    vector an item, and the model scores the shortlist; `report` tells how much that misses.

    Args:
        run: A run or ensemble.
        kind: "exact", "faiss" or "milvus".
        data: Other pictures than the run's own: a data set, or a folder of pictures with or without
            captions.
        split: What is searched: a split's name, or "all"; by default all photographs, and of toy
            scenes the reported split.
        uri: A Milvus database: a file that ends in `.db`, by default in the run's folder, or the
            address of a server such as "http://localhost:19530".
        effort: Lists that a query of faiss or Milvus looks into; by default a sixteenth of them.
        folder: Where the index lies; by default `index/` in the run's folder.

    Attributes:
        data: The data set's part that is searched.

    Raises:
        UnknownNameError: No such kind.
        DataError: There is no such split, or the data cannot be read.

    >>> import xmr_lib as xmr
    >>> with xmr.Index(xmr.run("RFE"), "faiss") as index:  # doctest: +SKIP
    ...     index.add_pictures(["holiday/"])
    ...     print(index.search_images("two dogs in the snow", k=3))
    ...     print(index.report())
    """

    def __init__(
        self,
        run: Retriever,
        kind: Kind = "exact",
        *,
        data: str | Path | DataSource | CaptionedImages | None = None,
        split: str | None = None,
        uri: str | None = None,
        effort: int | None = None,
        folder: Path | None = None,
    ) -> None:
        if kind not in KINDS:
            raise UnknownNameError("kind of index", kind, KINDS)
        if uri is not None and kind != "milvus":
            raise DataError(f"An address ({uri}) goes with the kind milvus, not with {kind}.")
        if effort is not None and effort < 1:
            raise DataError(f"The effort must be at least 1, not {effort}.")
        self.kind, self.uri, self.effort = kind, uri, effort
        self._trained, self._own = run, run.data
        self._items = Collection(run, data, split, folder)
        self._weights = _fingerprint(run, own_data=data is None)
        self.run, self.data = self._items.run, self._items.data
        self.folder = self._items.folder
        self.dim = run.encode_sentences(["a picture"]).vectors.shape[1]
        self._sides: dict[Side, tuple[ExactIndex, VectorIndex]] = {}
        self._images: dict[str, Path] = {}  # files of the images that are searched, by id
        self._places: dict[Side, dict[str, int]] = {}  # of the items that are searched, by id

    # --- search ------------------------------------------------------------------------------

    def search_images(self, sentence: str, k: int = 5) -> list[Hit]:
        """The `k` pictures that fit a sentence best.

        Raises:
            DataError: The sentence has no words, or there are no pictures.
        """
        query = self.run.encode_sentences([sentence])
        (found,) = self._search("images", query, k)
        places = self._places["images"]
        return [Hit(places[each], score, self._images[each]) for each, score in found]

    def search_captions(self, image: str | Path, k: int = 5) -> list[Hit]:
        """The `k` captions of the data set that fit a picture best.

        Raises:
            DataError: The picture cannot be read, or there are no captions.
        """
        query = self.run.encode_picture(image)
        (found,) = self._search("captions", query, k)
        hits = [(self._places["captions"][each], score) for each, score in found]
        owner, files = self.data.image_of_caption, self.data.image_files
        return [Hit(c, score, files[owner[c]], self.data.captions[c]) for c, score in hits]

    def _search(self, side: Side, queries: Encoded, k: int) -> Neighbours:
        """The `k` best of each query by the model's score, as far as the index finds them."""
        _, index = self._side(side)
        if not len(index):
            raise DataError(f"There are no {side} to search.")
        vectors = self._vectors(queries, "captions" if side == "images" else "images")
        if self.run.compares_vectors:
            return index.search(vectors, k)
        found = []
        for query, near in enumerate(index.search(vectors, max(SHORTLIST, k))):
            ids = [each for each, _ in near]
            scores = self._scores(side, queries[query : query + 1], ids)
            found.append(_best(ids, scores[0], k))
        return found

    @torch.inference_mode()
    def _scores(self, side: Side, queries: Encoded, ids: Sequence[str]) -> Tensor:
        """The model's scores of queries and some items, `(n_queries, n_ids)`."""
        scores = torch.empty(len(queries), len(ids))
        for start in range(0, len(ids), _BATCH):
            some = ids[start : start + _BATCH]
            for places, items in self._items.encode(side, some, self._images):
                if side == "images":
                    found = self.run.score(items, queries).T
                else:
                    found = self.run.score(queries, items)
                scores[:, start + torch.tensor(places)] = found.float().cpu()
        return scores

    # --- change ------------------------------------------------------------------------------

    def add_pictures(self, paths: Iterable[str | Path]) -> Changes:
        """Encodes pictures and puts them in; nothing is trained.

        A name that is there already gets the new picture. Files that are no pictures are left out
        and named in the result. If an error is raised, nothing has changed.

        Args:
            paths: Files, and folders with all files in and below them.

        Raises:
            DataError: A path does not exist, or the run cannot encode pictures.
        """
        with locked(self.folder, "the index"):
            result, new = self._items.compared(find_files(paths))
            self._load("images", {image_id(name, file): file for name, file in new.items()})
            self._items.add(new)
        self.close()
        return result

    def remove_pictures(self, names: Sequence[str]) -> None:
        """Takes pictures out, with their captions; the files stay where they are.

        Removing what was removed before changes nothing.

        Args:
            names: As hits name them: the file's name, below the folder of all pictures.

        Raises:
            UnknownNameError: No picture of that name was ever there; then none is removed.
        """
        with locked(self.folder, "the index"):
            self._items.remove(names)
        self.close()

    # --- how good it is ----------------------------------------------------------------------

    def recall(self, side: Side = "images") -> dict[str, float]:
        """Recall@1 and @10 against scoring everything, and milliseconds a query.

        Queries are captions of the part that is searched (or for captions its pictures), at most
        200, evenly spread. The figures are kept until the content or the settings change.

        Args:
            side: "images" or "captions".

        Returns:
            "recall@1", "recall@10", "milliseconds" and "queries".
        """
        exact, index = self._side(side)
        file = self._side_folder(side) / f"recall-{self.kind}.json"
        about = {"index": index.description, "content": exact.content, "shortlist": SHORTLIST}
        old = read_json(file)
        if old.get("about") == about:
            return old["found"]
        most = _QUERIES
        if not self.run.compares_vectors:
            most = max(10, min(most, _PAIRS // max(1, len(exact))))
        n = self.data.n_captions if side == "images" else self.data.n_images
        chosen = np.unique(np.linspace(0, n - 1, min(n, most)).astype(np.int64))
        if side == "images":
            queries = self.run.encode_sentences([self.data.captions[i] for i in chosen])
        else:
            queries = self.run.encode_images(self.data.subset(chosen))
        if self.run.compares_vectors:
            truth = exact.search(queries.vectors.cpu(), 10)
        else:
            scores = self._scores(side, queries, exact.ids)
            truth = [_best(exact.ids, row, 10) for row in scores]
        found = measure(lambda some, k: self._search(side, some, k), truth, queries)
        found |= {"queries": len(chosen)}
        write_json(file, {"about": about, "found": found})
        return found

    def report(self, side: Side = "images") -> str:
        """How many were searched, where they lie, how, and the recall where some can be missed."""
        exact, index = self._side(side)
        part = {"all": "", "report": "the reported split of "}
        text = f"Searched {len(exact):,} {side if len(exact) != 1 else side[:-1]}: "
        text += part.get(self._items.part, f"the split {self._items.part!r} of ")
        text += f"{self.data.name} in {common_folder(self.data)}"
        if side == "images" and (added := len(self._items.changes()["added"])):
            text += f", and {added} that were added"
        text += f". How: {index.description}"
        if not self.run.compares_vectors and len(exact) > SHORTLIST:
            text += f", then the model's score of the {SHORTLIST} nearest"
        elif index is exact:
            return f"{text}."
        if not self._items.captioned:
            return f"{text}; without captions its recall is unknown."
        found = self.recall(side)
        asked = f"{found['queries']} {'captions' if side == 'images' else 'pictures'}"
        return (
            f"{text}; recall@1 {found['recall@1']:.3f}, recall@10 {found['recall@10']:.3f} against "
            f"scoring everything ({asked}), {found['milliseconds']:.1f} ms a query."
        )

    def __len__(self) -> int:
        return len(self._side("images")[0])

    def close(self) -> None:
        """Lets go of files and connections; the next search opens them again."""
        for _, index in self._sides.values():
            index.close()
        self._sides = {}

    def __enter__(self) -> Index:
        return self

    def __exit__(self, *_) -> None:
        self.close()

    # --- load --------------------------------------------------------------------------------

    def _side(self, side: Side) -> tuple[ExactIndex, VectorIndex]:
        """The exact index and the one that is searched, complete."""
        if side not in self._sides:
            with locked(self.folder, "the index"):
                exact = self._complete(side)
                self._sides[side] = exact, self._opened(side, exact)
        return self._sides[side]

    def _complete(self, side: Side) -> ExactIndex:
        """Makes the exact index hold what it should."""
        self._images = self._items.images()
        if side == "captions":
            wanted = self._items.captions(self._images)
            self._places[side] = wanted
        else:
            wanted = self._images
            for each in self._unusable():
                del wanted[each]
            self._places[side] = {each: place for place, each in enumerate(wanted)}
        exact = self._load(side, wanted)
        exact.remove(set(exact.ids) - set(wanted))
        return exact

    def _unusable(self) -> list[str]:
        """Pictures without a vector whose files are gone or no pictures; a warning says which."""
        there = set(ExactIndex(self._side_folder("images"), self.dim).ids)
        new = {
            each: file
            for each, file in self._images.items()
            if each not in there and not self._items.is_own(each, file)
        }
        complaints = unreadable(new)
        for why in complaints.values():
            warnings.warn(f"Left out: {why}", stacklevel=2)
        return list(complaints)

    def _load(self, side: Side, wanted: Iterable[str] | dict[str, Path]) -> ExactIndex:
        """Encodes the items that the exact index lacks and puts them in, batch by batch."""
        folder = self._side_folder(side)
        for old in set(self.folder.glob(f"{side}-*")) - {folder}:  # of other weights
            shutil.rmtree(old, ignore_errors=True)
        exact = ExactIndex(folder, self.dim)
        there = set(exact.ids)
        todo = [each for each in wanted if each not in there]
        whole = any(member.model.transductive for member in self.run.runs)
        size = max(1, len(todo)) if whole and side == "captions" else _BATCH
        with tqdm(total=len(todo), desc=f"index {side}", disable=not todo, leave=False) as bar:
            for start in range(0, len(todo), size):
                some = todo[start : start + size]
                for places, items in self._items.encode(side, some, wanted):
                    exact.add([some[place] for place in places], self._vectors(items, side))
                bar.update(len(some))
        return exact

    def _vectors(self, items: Encoded, side: Side) -> np.ndarray:
        """One unit vector an item; of parts their mean, seen from the centre of all such means."""
        vectors = items.vectors
        if not self.run.compares_vectors:
            vectors = l2norm(vectors - self._centres[side].to(vectors))
        return vectors.float().cpu().numpy()

    @cached_property
    def _centres(self) -> dict[str, Tensor]:
        """Mean vector of some of the run's own images, and of their captions."""
        file = self.folder / f"centres-{self._weights}.safetensors"
        try:
            return load_tensors(file)[0]
        except (FileNotFoundError, DamagedFileError):
            n = self._own.n_images
            some = self._own.subset(np.unique(np.linspace(0, n - 1, min(n, _CENTRE)).astype(int)))
            images = self._trained.encode_images(some).vectors.mean(0)
            captions = self._trained.encode_sentences(some.captions).vectors.mean(0)
            save_tensors(file, {"images": images, "captions": captions})
            return {"images": images, "captions": captions}

    def _opened(self, side: Side, exact: ExactIndex) -> VectorIndex:
        """The index that is searched, filled from the exact one."""
        if self.kind == "exact":
            return exact
        if self.kind == "faiss":
            from xmr_lib.index.faiss_index import FaissIndex

            return FaissIndex(exact, self._side_folder(side) / "faiss.safetensors", self.effort)
        from xmr_lib.index.milvus_index import MilvusIndex

        uri = self.uri or str(self.folder / "milvus.db")
        state = self.folder / f"milvus-{side}-{short_hash(uri)}.json"
        return MilvusIndex(exact, uri, state, self.effort)

    def _side_folder(self, side: Side) -> Path:
        return self.folder / f"{side}-{self._weights}"


def _best(ids: Sequence[str], scores: Tensor, k: int) -> list[tuple[str, float]]:
    order = scores.argsort(descending=True, stable=True)[:k].tolist()
    return [(ids[place], float(scores[place])) for place in order]


def _fingerprint(run: Retriever, own_data: bool) -> str:
    """Stands for the weights, and for the features of the run's own data."""
    digest = hashlib.sha256()
    for member in run.runs:
        digest.update((member.folder / "model.safetensors").read_bytes())
        if own_data:
            digest.update(member.features.key.encode())
    return digest.hexdigest()[:12]
