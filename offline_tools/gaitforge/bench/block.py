"""One block of round trips by the load generator, and what became of its states."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gaitd.errors import GaitdError, InputError

CLOSED = 0.0
"""In place of a rate: one round trip right after the other."""
PRIORITY = 50
"""SCHED_FIFO of the load generator and of the C++ servers, where this user may."""
WARM_UP = 50
"""Round trips at the start of a block whose times do not count; what becomes of their states does."""
PATIENCE_S = 120.0
"""Of a block, beyond the time that its states take."""


@dataclass(frozen=True)
class Cores:
    """Where things run: the load generator beside the guardian, what answers on a core of its own."""

    client: int
    server: int


def cores() -> Cores:
    """The last two that this process may use, on a board fast ones; of one core, that one twice."""
    usable = sorted(os.sched_getaffinity(0))
    return Cores(usable[-2:][0], usable[-1])


@dataclass(frozen=True)
class Block:
    """Times and fates. ``published`` is the sum of answers, ``superseded``, ``refused`` and ``lost``."""

    latencies_us: list[float]
    published: int
    superseded: int = 0
    """Not answered, as a newer state was there already, or a newer answer when the controller looked."""
    refused: int = 0
    """By gaitd, with a stated cause."""
    lost: int = 0
    """Without an answer and without a reason; those of a session that ended in damping among them."""
    dampings: int = 0
    cpu: Mapping[str, float] = field(default_factory=dict)
    """Of each of gaitd's processes during the block, in cores; nothing of what is not gaitd."""


def check_built(echo: Path) -> None:
    """Raise InputError without a built echo_bench."""
    if not os.access(echo, os.X_OK):
        raise InputError(f"{echo}: no built echo_bench there; `make cpp` builds it")


def run_block(
    echo: Path, arguments: Sequence[str], rate_hz: float, count: int, samples: Path, core: int | None = None
) -> tuple[Block, int]:
    """One run of echo_bench; the block as the load generator saw it, and how many answers came.

    ``samples``: where it writes its latencies. ``core``: that it is pinned to. Raises GaitdError
    when the block fails.
    """
    samples.unlink(missing_ok=True)
    pace = ["--rate", f"{rate_hz:.6f}", "--count", str(count), "--warm-up", str(WARM_UP)]
    where = ["--priority", str(PRIORITY), *([] if core is None else ["--cpu", str(core)])]
    command = [str(echo), *arguments, *pace, *where, "--samples", str(samples)]
    longest_s = PATIENCE_S + (0.0 if rate_hz == CLOSED else (WARM_UP + count) / rate_hz)
    done = subprocess.run(command, capture_output=True, text=True, timeout=longest_s)
    if done.returncode != 0:
        raise GaitdError(f"{arguments[0]}: {done.stderr.strip() or done.stdout.strip()}")
    said = json.loads(done.stdout)
    latencies_us = [float(line) for line in samples.read_text().split()]
    block = Block(latencies_us, said["published"], said["passed"], 0, said["lost"], said["dampings"])
    return block, said["answered"]
