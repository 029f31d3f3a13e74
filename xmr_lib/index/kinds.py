"""Names of the kinds of indexes; apart, so that the command line knows them without torch."""

from __future__ import annotations

from typing import Literal, get_args

Kind = Literal["exact", "faiss", "milvus"]
Side = Literal["images", "captions"]
KINDS: tuple[Kind, ...] = get_args(Kind)
