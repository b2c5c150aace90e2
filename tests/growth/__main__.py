"""``make step-growth``: a step's own work against the 12-joint policy's, and what format 1 pays for format 2.

Every pair is measured in turns, block by block, each side in a process of its own, and the median of the
blocks' ratios counts: what else the machine does meets both. A model's own time is not in it.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
from dataclasses import astuple
from pathlib import Path

from gaitforge.common.tables import markdown
from growth.cases import Size, stepper

CASES = (
    Size(12, inputs=1),
    Size(24, inputs=1),
    Size(36, inputs=1),
    Size(64, inputs=1),
    Size(12, inputs=5),
    Size(12, inputs=10),
    Size(12, inputs=1, models=2),
)
BASE = CASES[0]
FORMAT_1 = Size(format=1)
PARTS = ("build", "wiring", "guard", "all")
MARGIN = 1.05
"""A ratio is a measurement."""


class Side:
    """One policy, stepped in a process of its own; use as a context manager."""

    def __init__(self, size: Size, daemon: Path | None = None) -> None:
        """``daemon``: where that process takes gaitd from; None: as this one does."""
        size_text = ",".join(map(str, astuple(size)))
        path = os.pathsep.join([*([str(daemon)] if daemon else []), *sys.path])
        self._process = subprocess.Popen(
            [sys.executable, "-m", "growth", "--serve", size_text],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": path},
        )

    def __enter__(self) -> Side:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def block(self, steps: int) -> list[float]:
        """Seconds of a step by part, over so many."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(f"{steps}\n")
        stdin.flush()
        parts = [float(text) for text in stdout.readline().split()]
        return [*parts, sum(parts)]


def serve(size: Size) -> None:
    """Answer each number of steps with what one of them took."""
    run = stepper(size)
    for line in sys.stdin:
        print(*run(int(line)), flush=True)


def paired(first: Side, second: Side, blocks: int, steps: int) -> tuple[list[float], list[float]]:
    """Microseconds of a step of the first by part, and the ratios of the second to it."""
    for side in (first, second):
        side.block(steps)
    times, ratios = [], []
    for block in range(blocks):
        sides = (first, second) if block % 2 else (second, first)
        found = {side: side.block(steps) for side in sides}
        times.append([1e6 * value for value in found[first]])
        ratios.append([b / a for a, b in zip(found[first], found[second], strict=True)])
    return _medians(times), _medians(ratios)


def main() -> int:
    """Exit code 1 when something grows faster than linearly."""
    parser = argparse.ArgumentParser(prog="make step-growth", description=__doc__)
    parser.add_argument("--blocks", type=int, default=100)
    parser.add_argument("--steps", type=int, default=200, help="of a block")
    parser.add_argument(
        "--against", type=Path, metavar="DAEMON", help="a format 1 policy also under that folder's gaitd"
    )
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(Size(*map(int, options.serve.split(","))))
        return 0
    rows, missed = [], []
    for case in CASES:
        with Side(BASE) as base, Side(case) as other:
            times, ratios = paired(base, other, options.blocks, options.steps)
        if case == BASE:
            print(f"the 12-joint policy: {_joined(times, 'us')}")
        shown = {name: round(value, 2) for name, value in zip(PARTS, ratios, strict=True)}
        rows.append({"joints": case.joints, "inputs": case.inputs, "models": case.models, **shown})
        if ratios[-1] > MARGIN * case.joints / BASE.joints * case.inputs * case.models:
            missed.append(case)
    print(markdown(rows))
    if options.against is not None:
        with Side(FORMAT_1, options.against) as before, Side(FORMAT_1) as now:
            _, ratios = paired(before, now, options.blocks, options.steps)
        print(f"a format 1 policy here against {options.against}: {_joined(ratios, 'x')}")
    for case in missed:
        print(f"grows faster than linearly: {case}")
    return int(bool(missed))


def _medians(rows: list[list[float]]) -> list[float]:
    return [statistics.median(column) for column in zip(*rows, strict=True)]


def _joined(values: list[float], unit: str) -> str:
    return ", ".join(f"{name} {value:.3g} {unit}" for name, value in zip(PARTS, values, strict=True))


if __name__ == "__main__":
    sys.exit(main())
