"""One comparison of the benchmark: two works in turns, and what their ratio should be."""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Row:
    """One comparison: what the plain way costs and what the kit's, and the ratio hoped for.

    Attributes:
        work: What was done.
        plain: Cost of the plain way; NaN where it cannot be done at all.
        ours: Cost of the kit's way.
        aim: The ratio or the limit hoped for, in words.
        ratio: Plain by ours, or ours by plain where `aim` is an upper bound.
        met: Whether the aim is met; None where nothing was hoped for.
        unit: "s" or "MB".
    """

    work: str
    plain: float
    ours: float
    aim: str
    ratio: float
    met: bool | None
    unit: str = "s"


def faster(work: str, plain: float, ours: float, times: float) -> Row:
    """The kit should be at least this many times faster."""
    ratio = plain / ours
    return Row(work, plain, ours, f"≥ {times:g}× faster", ratio, ratio >= times)


def at_most(work: str, plain: float, ours: float, times: float) -> Row:
    """The kit's way should take at most this many times as long as the operation it contains."""
    ratio = ours / plain
    return Row(work, plain, ours, f"≤ {times:g}× the time", ratio, ratio <= times)


def smaller(work: str, plain: float, ours: float, times: float) -> Row:
    """The kit should need at most this share of the memory (bytes given, MB kept)."""
    ratio = plain / ours
    return Row(work, plain / 1e6, ours / 1e6, f"≥ {times:g}× less", ratio, ratio >= times, "MB")


def within(work: str, ours: float, limit: float) -> Row:
    """The kit's way should need at most so many bytes."""
    aim = f"< {limit / 1e6:,.0f} MB"
    return Row(work, float("nan"), ours / 1e6, aim, float("nan"), ours < limit, "MB")


def in_turns(*works: Callable[[], object], repeats: int = 5) -> list[float]:
    """Median seconds of each work, run in turns after one round that does not count."""
    seconds: list[list[float]] = [[] for _ in works]
    for round_number in range(repeats + 1):
        for work, taken in zip(works, seconds, strict=True):
            started = time.perf_counter()
            work()
            if round_number:
                taken.append(time.perf_counter() - started)
    return [statistics.median(taken) for taken in seconds]


def in_own_process(module: str, function: str, **arguments: int | str) -> dict[str, float]:
    """Runs a function in a process of its own, to see its memory alone.

    Args:
        module: Such as "bench.attention".
        function: A function of it that takes these arguments; its result is not looked at. It may
            return a dictionary of numbers.
        arguments: For the function.

    Returns:
        The function's numbers, "peak" and "before": the most memory that the process held, and what
        it held when the function began (its imports), in bytes.
    """
    code = (
        "import json, sys\n"
        "from bench.rows import peak_bytes\n"
        f"from {module} import {function}\n"
        "before = peak_bytes()\n"
        f"found = {function}(**json.loads(sys.argv[1])) or {{}}\n"
        "print(json.dumps({**found, 'before': before, 'peak': peak_bytes()}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(arguments)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    return json.loads(done.stdout.splitlines()[-1])


def peak_bytes() -> int:
    """The most memory that this process has held so far, in bytes."""
    if sys.platform == "win32":
        import psutil  # comes with accelerate

        return psutil.Process().memory_info().peak_wset
    status = Path("/proc/self/status")
    if status.is_file():  # getrusage would count the process that started this one, too
        (line,) = re.findall(r"VmHWM:\s+(\d+) kB", status.read_text())
        return int(line) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS
