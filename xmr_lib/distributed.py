"""Several processes that train one model together, each with a share of every batch.

`torchrun` or `accelerate launch` starts the same command many times, as a rule once a GPU, and
the copies meet in `join`. A recipe's batch stays the batch: of 128 pairs, four processes encode
32 each. The hardest negative of a pair may be anybody's, so embeddings are *gathered* before they
are compared, and gradients flow back through the gather to the process that made a row:

    forward    all_gather     everybody gets everybody's rows
    backward   all_reduce     a row's gradients from all processes, added up, for its owner

Every process then computes the loss of the whole batch. It is the same number everywhere, but each
has only the gradient that passed through its own rows, w times too large, w being the number of
processes (the backward sum counts the loss w times). `DistributedDataParallel` takes the mean of
the processes' gradients, which makes exactly the gradient of one process with the whole batch.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import torch
import torch.distributed as dist
from accelerate import PartialState
from torch import Tensor

from xmr_lib.errors import DataError
from xmr_lib.similarity import Encoded, Parts

TIMEOUT = timedelta(hours=12)  # others wait while one extracts features or validates


# --- gathering ------------------------------------------------------------------------------------


class _Gather(torch.autograd.Function):
    """Forward, all processes' rows; backward, the sum of their gradients of this one's rows."""

    @staticmethod
    def forward(ctx, rows: Tensor, sizes: tuple[int, ...]) -> Tensor:
        ctx.sizes = sizes
        # The collective wants equal shapes: shorter shares are filled up, and cut again.
        missing = max(sizes) - len(rows)
        if missing:
            rows = torch.cat([rows, rows.new_zeros(missing, *rows.shape[1:])])
        rows = rows.contiguous()
        pieces = [torch.empty_like(rows) for _ in sizes]
        dist.all_gather(pieces, rows)
        return torch.cat([piece[:size] for piece, size in zip(pieces, sizes, strict=True)])

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        gradient = gradient.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(gradient)
        return gradient.split(ctx.sizes)[dist.get_rank()], None


def gather_with_gradient(rows: Tensor, sizes: Sequence[int]) -> Tensor:
    """Rows of all processes, in the order of the processes.

    Args:
        rows: This process's `(b, …)`, of the same type and width everywhere.
        sizes: Rows of each process.

    Returns:
        `(sum of sizes, …)`. Backward, each process gets the gradients of its own rows, added up
        over all processes: that of the sum of the processes' losses.
    """
    return _Gather.apply(rows, tuple(sizes))


@dataclass(frozen=True)
class Share:
    """Which pairs of a batch this process has.

    Attributes:
        sizes: Pairs of each process, in their order in the batch.
        process: Number of this process, the first being 0.
    """

    sizes: tuple[int, ...]
    process: int

    @classmethod
    def of(cls, n_pairs: int, process: int, n_processes: int) -> Share | None:
        """This process's share of a batch; None where it has the whole batch.

        That is so for a single process, and for the rest of an epoch that is too small to give
        everybody a pair: all processes then compute the same, and their mean is what one computes.

        >>> Share.of(7, process=1, n_processes=3)
        Share(sizes=(2, 2, 3), process=1)
        >>> Share.of(2, process=1, n_processes=3) is None
        True
        """
        if n_processes == 1 or n_pairs < n_processes:
            return None
        ends = [n_pairs * i // n_processes for i in range(n_processes + 1)]
        sizes = tuple(end - start for start, end in pairwise(ends))
        return cls(sizes, process)

    @property
    def total(self) -> int:
        """Pairs of the whole batch."""
        return sum(self.sizes)

    @property
    def rows(self) -> slice:
        """Where this process's pairs are in the whole batch."""
        first = sum(self.sizes[: self.process])
        return slice(first, first + self.sizes[self.process])

    def gather(self, rows: Tensor) -> Tensor:
        """This process's `(b, …)` to everybody's `(total, …)`, see `gather_with_gradient`."""
        return gather_with_gradient(rows, self.sizes)

    def gather_encoded(self, items: Encoded) -> Encoded:
        """Everybody's encoded items: vectors, or parts where the model compares parts."""
        if items.parts is None:
            return Encoded(self.gather(items.vectors))
        flat = items.parts.flat
        lengths = self.gather(items.parts.lengths.to(flat.device)).cpu()  # (total,)
        n_parts = [int(each.sum()) for each in lengths.split(self.sizes)]
        starts = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
        return Encoded.of_parts(Parts(gather_with_gradient(flat, n_parts), starts))


# --- processes ------------------------------------------------------------------------------------


def join() -> None:
    """Meets the other processes, if this is one of several; does nothing when called again.

    It must come before anything that only one process at a time can do, such as extraction.
    Of several processes only the first shows warnings.

    Raises:
        DataError: The processes cannot work together here.
    """
    n, here = (int(os.environ.get(name, "1")) for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"))
    if n == 1 or "LOCAL_RANK" not in os.environ:  # WORLD_SIZE alone is set by others, too
        PartialState()
        return
    if not _has_gpus():  # accelerate joins processes on CPUs only when told to
        os.environ["ACCELERATE_USE_CPU"] = "true"
    on_cpu = os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("true", "1", "yes")
    if not on_cpu and torch.accelerator.device_count() < here:
        raise DataError(_too_few_gpus(here))
    state = PartialState(cpu=on_cpu, timeout=TIMEOUT)
    if state.num_processes != n:
        raise DataError(
            f"Started as one of {n} processes, but accelerate was set up for "
            f"{state.num_processes} before they could meet: call xmr_lib.distributed.join() first."
        )
    if not state.is_main_process:
        warnings.simplefilter("ignore")


def _has_gpus() -> bool:
    """Whether there are any that processes can share work on; Apple's cannot."""
    found = torch.accelerator.is_available()
    return found and torch.accelerator.current_accelerator().type != "mps"


def _too_few_gpus(n: int) -> str:
    return (
        f"{n} processes for the {torch.accelerator.device_count()} GPU(s) of this machine: start "
        "as many processes as it has GPUs, or train on its CPU (set ACCELERATE_USE_CPU=true)."
    )


def is_main() -> bool:
    """Whether this process writes and prints: the only one, or the first of several."""
    return PartialState().is_main_process


def wait() -> None:
    """Waits until all processes have come here; alone, not at all."""
    PartialState().wait_for_everyone()


@contextmanager
def main_first() -> Iterator[None]:
    """Lets a machine's first process go ahead; the others find what it has left in the cache."""
    with PartialState().local_main_process_first():
        yield


def check_batch_size(batch_size: int) -> None:
    """Refuses a batch that cannot be shared.

    Raises:
        DataError: There are more processes than pairs.
    """
    n = PartialState().num_processes
    if batch_size < n:
        raise DataError(
            f"A batch of {batch_size} pairs cannot be shared by {n} processes: raise batch_size, "
            "or start fewer. (batch_size is the whole batch, of all processes together.)"
        )


# --- starting -------------------------------------------------------------------------------------

_OF_TORCHRUN = re.compile(r"torch.distributed.elastic.*(failed|closing signal)")


def launch(arguments: Sequence[str], n_processes: int = 2, *, cpu: bool = False) -> None:
    """Runs a command of `python -m xmr_lib` in several processes, and shows what they print.

    Made for notebooks: the processes start afresh, nothing is forked, so that it does not matter
    whether the notebook has used a GPU already (memory it holds there stays taken, though). When
    it returns, the run can be opened as if it had been trained here: `runs.run` finds it finished.

    Args:
        arguments: The command and its options, as `["train", "RFE", "--seed", "1"]`.
        n_processes: How many, as a rule one a GPU.
        cpu: Keep off the GPUs.

    Raises:
        DataError: The command failed; its last lines are in the message.
    """
    if n_processes < 1:
        raise DataError(f"n_processes must be at least 1, not {n_processes}.")
    if not cpu and _has_gpus() and torch.accelerator.device_count() < n_processes:
        raise DataError(_too_few_gpus(n_processes))
    environment = _environment(n_processes, cpu)
    lines, ended = [], False
    with subprocess.Popen(
        _command(arguments, n_processes),
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        encoding="utf-8",
        errors="replace",
    ) as process:
        process.stdout.reconfigure(newline="")  # keep \r, with which progress bars start again
        try:
            for line in process.stdout:
                ended = ended or _OF_TORCHRUN.search(line) is not None
                if not ended:  # torchrun's own report of a failure adds nothing
                    sys.stdout.write(line)
                    lines += [] if line.endswith("\r") else [line.rstrip()]
        except BaseException:  # such as the stop button of a notebook
            process.terminate()  # torchrun ends its processes
            raise
    if process.returncode:
        shown = "\n".join(list(filter(None, lines))[-20:])
        raise DataError(
            f"`{' '.join(arguments)}` in {n_processes} processes failed (exit status "
            f"{process.returncode}). Its last lines:\n{shown}"
        )


def _command(arguments: Sequence[str], n_processes: int) -> list[str]:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]  # finds a free port
    return [*torchrun, "--nproc-per-node", str(n_processes), "-m", "xmr_lib", *arguments]


def _environment(n_processes: int, cpu: bool) -> dict[str, str]:
    """What the processes are told: where the package is, how many threads each may use."""
    package = str(Path(__file__).resolve().parents[1])
    paths = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
    threads = max(1, (os.cpu_count() or 1) // n_processes)
    usual = {"OMP_NUM_THREADS": str(threads), "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8"}
    found = usual | os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    if cpu:
        found |= {"ACCELERATE_USE_CPU": "true"}
    if os.name == "nt":  # PyTorch for Windows is built without libuv
        found |= {"USE_LIBUV": "0"}
    return found
