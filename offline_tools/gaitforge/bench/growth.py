"""How age, CPU and memory grow: with joints, frames of history, parameters and hours of recording."""

from __future__ import annotations

import itertools
import math
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np

from gaitforge.bench.block import Cores, check_built, cores, run_block
from gaitforge.bench.contenders import inference
from gaitforge.bench.daemon import daemon
from gaitforge.bench.generated import Size, write_generated
from gaitforge.bench.measured import Measured

PERIOD_S = 0.012
SIZES = {
    "joints": [Size(joints=count) for count in (12, 24, 36, 48, 64)],
    "history": [Size(history=frames) for frames in (1, 5, 10, 25, 50)],
    "parameters": [Size(parameters=count) for count in (10_000, 100_000, 1_000_000, 3_000_000, 10_000_000)],
}
HOURS = "recorded hours"
RECORDING_HZ = 1000.0
"""Recording is sped up: an hour at 83 Hz is as many steps as five minutes at this rate."""
BEND = 0.5
"""A curve bends where it begins to grow with this power of what it is plotted over, or more."""
CURVES = {
    "p50_us": "age p50 µs",
    "in_process_us": "in process p50 µs",
    "cpu_percent": "CPU %",
    "memory_mb": "MB",
}


@dataclass
class Row:
    """One point of all curves of an axis."""

    axis: str
    value: float
    observation: int
    gaitd: Measured
    memory_mb: list[float] = field(default_factory=list)
    in_process_us: list[float] = field(default_factory=list)
    """Median of the same model in one process, of each round; none where it is the same model everywhere."""

    def values(self) -> dict[str, Any]:
        """For programs."""
        inside = round(float(np.median(self.in_process_us)), 1) if self.in_process_us else None
        memory = round(float(np.median(self.memory_mb)), 1)
        place = {"axis": self.axis, "value": self.value, "observation": self.observation}
        return {**place, **self.gaitd.times(), "in_process_us": inside, "memory_mb": memory}


def measure(echo: Path, output: Path, rounds: int, seconds: float, hours: float) -> list[dict[str, Any]]:
    """Measure all axes; a daemon of its own for each point and round. ``hours``: of recording, 0: none.

    Raises InputError without echo_bench, GaitdError when a part does not start or a block fails.
    """
    check_built(echo)
    output.mkdir(parents=True, exist_ok=True)
    pinned, count = cores(), max(50, round(seconds / PERIOD_S))
    with tempfile.TemporaryDirectory(prefix="gaitd-") as scratch, (output / "servers.log").open("wb") as log:
        rows = [
            Row(axis, getattr(size, axis), size.observation, Measured(axis, "idle", 1 / PERIOD_S))
            for axis, sizes in SIZES.items()
            for size in sizes
        ]
        sizes = [size for each in SIZES.values() for size in each]
        bundles = [
            write_generated(size, PERIOD_S, Path(scratch) / f"{number}.gaitd")
            for number, size in enumerate(sizes)
        ]
        for number in range(rounds):
            for row, size, bundle in zip(rows, sizes, bundles, strict=True):
                print(f"\r{row.axis} {row.value:g}, round {number + 1} ...      ", end="", file=sys.stderr)
                with tempfile.TemporaryDirectory(prefix="gaitd-") as directory:
                    _point(row, size, bundle, Path(directory), echo, log, pinned, count)
        if hours > 0:
            rows += _recording(hours, Path(scratch), echo, log, pinned)
    print("\r" + " " * 60 + "\r", end="", file=sys.stderr)
    return [row.values() for row in rows]


def _point(
    row: Row, size: Size, bundle: Path, directory: Path, echo: Path, log: IO[bytes], pinned: Cores, count: int
) -> None:  # fmt: skip
    joints = ["--joints", str(size.joints)]
    with daemon(bundle, directory, echo, log, pinned=pinned, arguments=joints) as gaitd:
        row.gaitd.add(gaitd.block("shm", 1 / PERIOD_S, count, pinned.client))
        row.memory_mb.append(gaitd.memory_mb())
    inside = ["onnx", *inference(bundle, directory / "model.onnx")]
    block, _ = run_block(echo, inside, 1 / PERIOD_S, count, directory / "samples", pinned.server)
    row.in_process_us.append(float(np.median(block.latencies_us)))


def _recording(hours: float, scratch: Path, echo: Path, log: IO[bytes], pinned: Cores) -> Iterator[Row]:
    """One session after another in one daemon that records everything, each as long as all before it."""
    bundle = write_generated(Size(), 1 / RECORDING_HZ, scratch / "recorded.gaitd")
    directory, joints = scratch / "recorded", ["--joints", str(Size().joints)]
    directory.mkdir()
    with daemon(
        bundle, directory, echo, log, pinned=pinned, arguments=joints, recorder="continuous = true\n"
    ) as gaitd:
        before = 0.0
        for part in (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0):
            print(f"\r{part * hours:.3g} hours recorded ...      ", end="", file=sys.stderr)
            row = Row(
                HOURS, round(part * hours, 4), Size().observation, Measured(HOURS, "idle", RECORDING_HZ)
            )
            steps = round((part * hours - before) * 3600 / PERIOD_S)
            before = part * hours
            row.gaitd.add(gaitd.block("shm", RECORDING_HZ, steps, pinned.client))
            row.memory_mb.append(gaitd.memory_mb())
            yield row


def bend(over: Sequence[float], curve: Sequence[float]) -> float | None:
    """Where a curve begins to grow with the power BEND of what it is over, or more; None: nowhere."""
    for (x, y), (next_x, next_y) in itertools.pairwise(zip(over, curve, strict=True)):
        if math.log(next_y / y) / math.log(next_x / x) >= BEND:
            return x
    return None


def table(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Lines of Markdown: each value, and what it is of the first one of its axis."""
    lines: list[str] = []
    for axis in dict.fromkeys(row["axis"] for row in rows):
        here = [row for row in rows if row["axis"] == axis]
        curves = {key: title for key, title in CURVES.items() if here[0][key] is not None}
        heads = [axis, "observation", *curves.values(), "age p99 µs", "lost", "dampings"]
        lines += ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
        for row in here:
            cells = [f"{row[key]:.4g} ({row[key] / max(here[0][key], 1e-9):.2f} x)" for key in curves]
            ends = [f"{row['p99_us']:.4g}", str(row["lost"]), str(row["dampings"])]
            lines.append(
                "| " + " | ".join([_number(row["value"]), str(row["observation"]), *cells, *ends]) + " |"
            )
        over = [row["value"] for row in here]
        said = []
        for key, title in curves.items():
            found = bend(over, [max(row[key], 1e-9) for row in here])
            said.append(f"{title} {'nowhere' if found is None else f'from {_number(found)}'}")
        lines += ["", f"Grows at least with the square root of {axis}: {'; '.join(said)}.", ""]
    return lines


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"
