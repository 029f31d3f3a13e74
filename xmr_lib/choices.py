"""Choices that the command line offers; apart, so that its help needs neither torch nor pandas."""

from __future__ import annotations

from typing import Literal

Scale = Literal["toy", "laptop", "paper"]
Protocol = Literal["all", "5k", "1k-folds", "first-1k"]
