"""The index of a run: its pictures and captions, kept in its folder and brought up to date.

Below `index/<split>/` in the run's folder lie `pictures.json` – which pictures were added and
taken out – and for pictures and for captions a folder with the exact index and, beside it, those
that were filled from it. What an index should hold follows from the data set and from that file;
`_complete` compares that with what it does hold. So a load that was killed goes on, a picture that
was added, replaced or removed is put right, and an index of other weights is built anew, all by
the same few lines.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from xmr_lib.errors import DataError, UnknownNameError
from xmr_lib.index import opening, pictures
from xmr_lib.index.base import VectorIndex, read_state, write_state
from xmr_lib.index.exact import ExactIndex
from xmr_lib.index.following import follow
from xmr_lib.index.kinds import KINDS, Kind, Side
from xmr_lib.index.pictures import Changes
from xmr_lib.index.recall import measure
from xmr_lib.retrieval import Hit
from xmr_lib.retriever import Retriever

_QUERIES = 200  # whose answers recall is measured by
_BATCH = 2048  # items encoded at once; each batch is on disk before the next begins
_PICTURES = 256  # the same for added pictures, which have to be decoded


class RunIndex:
    """Pictures and captions of a run, searched by an index; `xmr_lib.index.of` makes one.

    What is not there yet is encoded at the first search; close it at the end, or use `with`.

    Args:
        run: A run or ensemble whose score is the cosine of two vectors.
        kind: "exact", "faiss" or "milvus".
        split: What is searched: a split's name, or "all"; by default what the run reports on.
        uri: A Milvus database: a file that ends in `.db`, by default in the run's folder, or the
            address of a server such as "http://localhost:19530".
        effort: Lists that a query of faiss or Milvus looks into; by default a sixteenth of them.
        folder: Where the index lies; by default `index/` in the run's folder.

    Attributes:
        data: The data set's part that is searched.

    Raises:
        UnknownNameError: No such kind.
        DataError: The run compares parts, or there is no such split.
    """

    def __init__(
        self,
        run: Retriever,
        kind: Kind = "exact",
        *,
        split: str | None = None,
        uri: str | None = None,
        effort: int | None = None,
        folder: Path | None = None,
    ) -> None:
        if kind not in KINDS:
            raise UnknownNameError("kind of index", kind, KINDS)
        if not run.compares_vectors:
            raise DataError(
                f"{run.name} does not compare one vector of a picture with one of a sentence by "
                "their cosine, so no index can hold it. Search it without one: "
                "run.search_images(…), or `search` without --index, --add and --remove."
            )
        if uri is not None and kind != "milvus":
            raise DataError(f"An address ({uri}) goes with the kind milvus, not with {kind}.")
        if effort is not None and effort < 1:
            raise DataError(f"The effort must be at least 1, not {effort}.")
        self.run, self.kind, self.uri, self.effort = run, kind, uri, effort
        self.data = run.report if split is None else run.data
        if split not in (None, "all"):
            self.data = run.data.split(split)
        self.folder = (folder or opening.home(run)) / (split or "report")
        self.dim = run.encode_sentences(["a picture"]).vectors.shape[1]
        self._own = dict(
            zip(pictures.names_of(self.data, run.data), self.data.image_files, strict=True)
        )
        self._sides: dict[Side, tuple[ExactIndex, VectorIndex]] = {}
        self._places: dict[Side, dict[str, int]] = {}  # of what the indexes hold
        self._files: dict[str, Path] = {}

    # --- search ------------------------------------------------------------------------------

    def search_images(self, sentence: str, k: int = 5) -> list[Hit]:
        """The `k` pictures that fit a sentence best.

        Raises:
            DataError: The sentence has no words, or a file of the index is damaged.
        """
        query = self.run.encode_sentences([sentence]).vectors.cpu().numpy()
        _, index = self._side("images")
        found = index.search(query, k)[0]
        places, files = self._places["images"], self._files
        return [Hit(places[name], score, files[name]) for name, score in found]

    def search_captions(self, image: str | Path, k: int = 5) -> list[Hit]:
        """The `k` captions of the data set that fit a picture best.

        Raises:
            DataError: The picture cannot be read, or a file of the index is damaged.
        """
        query = self.run.encode_picture(image).vectors.cpu().numpy()
        _, index = self._side("captions")
        found = [(self._places["captions"][name], s) for name, s in index.search(query, k)[0]]
        owner, files = self.data.image_of_caption, self.data.image_files
        return [Hit(c, score, files[owner[c]], self.data.captions[c]) for c, score in found]

    # --- change ------------------------------------------------------------------------------

    def add_pictures(self, paths: Iterable[str | Path]) -> Changes:
        """Encodes pictures and puts them in; nothing is trained.

        A name that is there already gets the new picture. Pictures that cannot be decoded are
        left out and told about.

        Args:
            paths: Files, and folders with all pictures in and below them.

        Raises:
            DataError: A path does not exist, or the run cannot encode pictures.
        """
        found = pictures.find(paths)
        changes = Changes()
        with opening.locked(self.folder):
            state = self._pictures()
            before = self.files
            for name, file in found.items():
                stamp = pictures.stamp(file)
                known = state["added"].get(name)
                if name in before and (
                    self._own.get(name) == file
                    if known is None
                    else known == {"file": str(file), "stamp": stamp}
                ):
                    changes.unchanged.append(name)
                    continue
                (changes.updated if name in before else changes.added).append(name)
                if name in state["removed"]:
                    state["removed"].remove(name)
                if self._own.get(name) != file or known is not None:
                    state["added"][name] = {"file": str(file), "stamp": None}
            self._write_pictures(state)
        changes.broken = self._complete("images")
        there = self.files
        changes.added, changes.updated = (
            [name for name in names if name in there] for names in (changes.added, changes.updated)
        )
        return changes

    def remove_pictures(self, names: Sequence[str]) -> None:
        """Takes pictures out, with their captions; the files stay where they are.

        Args:
            names: As hits name them: the file's name, below the folder of all pictures.

        Raises:
            UnknownNameError: No picture of that name is there.
        """
        with opening.locked(self.folder):
            state, there = self._pictures(), self.files
            for name in names:
                name = pictures.meant(name, there)
                state["added"].pop(name, None)
                if name in self._own:
                    state["removed"].append(name)
                there.pop(name)
            self._write_pictures(state)
        self._complete("images")
        if "captions" in self._sides:
            self._complete("captions")

    # --- how good it is ----------------------------------------------------------------------

    def recall(self, side: Side = "images") -> dict[str, float]:
        """Recall@1 and @10 against exact search, and milliseconds a query; measured when needed.

        Queries are captions of the part that is searched (or for captions its pictures), at most
        200, evenly spread. The figures are kept until the content or the settings change.

        Args:
            side: "images" or "captions".

        Returns:
            "recall@1", "recall@10", "milliseconds" and "queries".
        """
        exact, index = self._side(side)
        file = self.folder / side / f"recall-{self.kind}.json"
        about = {"index": index.description, "changes": exact.changes, "items": len(exact)}
        old = read_state(file, {"about": dict, "found": dict})
        if old is not None and old["about"] == about:
            return old["found"]
        n = self.data.n_captions if side == "images" else self.data.n_images
        some = np.unique(np.linspace(0, n - 1, min(n, _QUERIES)).astype(np.int64))
        if side == "images":
            queries = self.run.encode_sentences([self.data.captions[i] for i in some])
        else:
            queries = self.run.encode_images(self.data.subset(some))
        found = measure(index, exact, queries.vectors.cpu().numpy()) | {"queries": len(some)}
        write_state(file, {"about": about, "found": found})
        return found

    def report(self, side: Side = "images") -> str:
        """What the index is, and its recall, in a line."""
        exact, index = self._side(side)
        found = self.recall(side)
        asked = f"{found['queries']} {'captions' if side == 'images' else 'pictures'}"
        return (
            f"{index.description}, {len(exact):,} {side}: recall@1 {found['recall@1']:.3f}, "
            f"recall@10 {found['recall@10']:.3f} against exact search ({asked}), "
            f"{found['milliseconds']:.1f} ms a query"
        )

    # --- what is there -----------------------------------------------------------------------

    @property
    def files(self) -> dict[str, Path]:
        """All pictures that can be found, by name: the data set's, then those added."""
        state = self._pictures()
        added = {name: Path(each["file"]) for name, each in state["added"].items()}
        removed = set(state["removed"])
        return {n: f for n, f in (self._own | added).items() if n not in removed}

    def __len__(self) -> int:
        return len(self._side("images")[0])

    def close(self) -> None:
        """Lets go of files and connections."""
        for _, index in self._sides.values():
            index.close()
        self._sides = {}

    def __enter__(self) -> RunIndex:
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def _captions(self) -> dict[str, int]:
        """Captions to be found, with their places."""
        owner, there = self.data.image_of_caption, self.files
        own = [there.get(name) == file for name, file in self._own.items()]  # replaced by no other
        return {name: c for c, name in enumerate(self._caption_ids) if own[owner[c]]}

    @cached_property
    def _caption_ids(self) -> list[str]:
        """Ids of all captions of the data set: the n-th of a picture is `<its name>#n`."""
        owner, names = self.data.image_of_caption, list(self._own)
        first = np.searchsorted(owner, np.arange(self.data.n_images))
        return [f"{names[image]}#{c - first[image]}" for c, image in enumerate(owner)]

    def _side(self, side: Side) -> tuple[ExactIndex, VectorIndex]:
        """The exact index and the one that is searched, opened and complete."""
        if side not in self._sides:
            self._complete(side)
        return self._sides[side]

    # --- load --------------------------------------------------------------------------------

    def _complete(self, side: Side) -> list[str]:
        """Makes an index hold what it should; why pictures among that could not be used."""
        with opening.locked(self.folder):
            if side not in self._sides:
                self._sides[side] = self._open(side)
            exact, index = self._sides[side]
            exact.refresh()
            wanted = self._captions() if side == "captions" else self.files
            exact.remove([each for each in exact.ids if each not in wanted])
            complaints = self._load_pictures(exact) if side == "images" else []
            missing = set(exact.missing(list(wanted)))
            own = list(self._own) if side == "images" else self._caption_ids
            rows = np.array([i for i, name in enumerate(own) if name in missing], dtype=np.int64)
            self._load(exact, side, own, rows)
            if index is not exact:
                follow(index, exact)
            if side == "images":
                self._files = self.files
                wanted = {name: place for place, name in enumerate(self._files)}
            self._places[side] = wanted
        return complaints

    def _load(self, exact: ExactIndex, side: Side, names: list[str], rows: np.ndarray) -> None:
        """Encodes items of the data set and puts them in, batch by batch."""
        whole = any(member.model.transductive for member in self.run.runs)
        size = len(rows) if whole and side == "captions" else _BATCH
        bar = tqdm(total=len(names), initial=len(names) - len(rows), desc=f"index {side}",
                   disable=not len(rows), leave=False)  # fmt: skip
        with bar:
            for start in range(0, len(rows), max(1, size)):
                some = rows[start : start + size]
                if side == "images":
                    found = self.run.encode_images(self.data.subset(some))
                else:
                    found = self.run.encode_sentences([self.data.captions[i] for i in some])
                exact.add([names[i] for i in some], found.vectors.cpu().numpy())
                bar.update(len(some))

    def _load_pictures(self, exact: ExactIndex) -> list[str]:
        """Encodes the added pictures that are new, changed, or not there."""
        state, complaints = self._pictures(), []
        missing = set(exact.missing(list(state["added"])))
        todo = [n for n, each in state["added"].items() if each["stamp"] is None or n in missing]
        with tqdm(
            total=len(todo), desc="index added pictures", disable=not todo, leave=False
        ) as bar:
            for start in range(0, len(todo), _PICTURES):
                some = todo[start : start + _PICTURES]
                files = {n: Path(state["added"][n]["file"]) for n in some}
                good, why = pictures.readable(list(files.values()))
                complaints += why
                kept = [n for n in some if files[n] in good]
                for name in set(some) - set(kept):
                    del state["added"][name]
                    exact.remove([name])  # what was there under its name is no longer meant
                if kept:
                    exact.add(kept, pictures.encode(self.run, [files[n] for n in kept]))
                for name in kept:
                    state["added"][name]["stamp"] = pictures.stamp(files[name])
                self._write_pictures(state)
                bar.update(len(some))
        return complaints

    def _open(self, side: Side) -> tuple[ExactIndex, VectorIndex]:
        """Opens an index, or begins it: anew where other weights or data made it."""
        folder = self.folder / side
        about = {"fingerprint": self._fingerprint(), "run": self.run.name}
        old = read_state(folder / "about.json", {"fingerprint": str})
        if old is not None and old["fingerprint"] != about["fingerprint"]:
            warnings.warn(
                f"{folder}: other weights or data made this index; it is built anew.", stacklevel=2
            )
            for old_file in (*folder.glob("recall-*.json"), folder / "exact", folder / "faiss"):
                opening.delete(old_file)
        write_state(folder / "about.json", about)
        exact = ExactIndex(folder / "exact", self.dim)
        if self.kind == "exact":
            return exact, exact
        name = f"{side}_{about['fingerprint']}"
        return exact, opening.beside(exact, self.kind, name, self.uri, self.effort)

    def _fingerprint(self) -> str:
        """Stands for all that vectors depend on besides the pictures that were added."""
        digest = hashlib.sha256()
        for member in self.run.runs:
            digest.update((member.folder / "model.safetensors").read_bytes())
            digest.update(member.features.key.encode())
        digest.update("\n".join([*self._own, *self.data.captions]).encode(errors="replace"))
        return digest.hexdigest()[:16]

    # --- pictures.json -----------------------------------------------------------------------

    def _pictures(self) -> dict:
        """Which pictures were added (with file and stamp; None: not encoded yet) and removed."""
        state = read_state(self.folder / "pictures.json", {"added": dict, "removed": list})
        return state or {"added": {}, "removed": []}

    def _write_pictures(self, state: dict) -> None:
        write_state(self.folder / "pictures.json", state)
