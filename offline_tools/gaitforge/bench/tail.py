"""What each real-time setting buys, above all at the end of the distribution: without it beside with it."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from gaitforge.bench import contenders
from gaitforge.bench.block import Block, check_built, cores
from gaitforge.bench.daemon import at_rate, daemon
from gaitforge.bench.measured import PERCENTILES, Measured

ORDINARY_GC = """\
import gc
gc.disable = gc.freeze = lambda: None
gc.collect = lambda generation=2: 0
"""
"""Takes gaitd's policy of garbage collection away: Python collects whenever it likes to."""
ALONE = "lock_memory = false\ncpu_dma_latency = false\nanticipate_ms = 0\n"


@dataclass(frozen=True)
class Variant:
    """One way to run gaitd and the load generator."""

    name: str
    against: str = ""
    """The variant that it differs from in one thing; empty: it is such a one."""
    realtime: str = ""
    """Lines of that section."""
    pinned: bool = True
    transport: str = "shm"
    io_pinned: bool = False
    """The client's I/O thread runs on the core of its control thread."""
    ordinary_gc: bool = False


VARIANTS = (
    Variant("everything"),
    Variant("without pinning", "everything", pinned=False),
    Variant("without mlock", "everything", "lock_memory = false\n"),
    Variant("without cpu_dma_latency", "everything", "cpu_dma_latency = false\n"),
    Variant("without anticipation", "everything", "anticipate_ms = 0\n"),
    Variant("with Python's own garbage collection", "everything", ordinary_gc=True),
    Variant("SCHED_FIFO alone", "", ALONE, pinned=False),
    Variant("nothing", "SCHED_FIFO alone", "enabled = false\n", pinned=False),
    Variant("everything, zeromq", transport="zmq"),
    Variant("client's I/O thread pinned", "everything, zeromq", transport="zmq", io_pinned=True),
)


@dataclass(frozen=True)
class Options:
    """What is measured, and how long."""

    bundle: Path
    echo: Path
    """The built echo_bench."""
    output: Path
    rounds: int
    seconds: float
    """Of a block; each has a daemon of its own."""
    rate_hz: float
    loads: Sequence[str] = ("idle", "busy")


def measure(options: Options) -> list[dict[str, Any]]:
    """Measure all variants, in rounds that begin with another one each.

    Raises InputError without echo_bench, GaitdError when a part does not start or a block fails.
    """
    check_built(options.echo)
    options.output.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    with (
        tempfile.TemporaryDirectory(prefix="gaitd-") as scratch,
        (options.output / "servers.log").open("wb") as log,
    ):
        bundle = at_rate(options.bundle, options.rate_hz, Path(scratch) / "policy.gaitd")
        for load in options.loads:
            found = {each.name: Measured(each.name, load, options.rate_hz) for each in VARIANTS}
            for number in range(options.rounds):
                first = number % len(VARIANTS)
                for variant in VARIANTS[first:] + VARIANTS[:first]:
                    print(f"\r{load}, round {number + 1}: {variant.name:40}", end="", file=sys.stderr)
                    found[variant.name].add(_block(options, bundle, variant, load, log))
            rows += [_row(variant, found) for variant in VARIANTS]
    print("\r" + " " * 70 + "\r", end="", file=sys.stderr)
    return rows


def _block(options: Options, bundle: Path, variant: Variant, load: str, log: IO[bytes]) -> Block:
    pinned = cores() if variant.pinned else None
    client = None if pinned is None else pinned.client
    environment = dict(os.environ)
    with tempfile.TemporaryDirectory(prefix="gaitd-") as name:
        directory = Path(name)
        if variant.ordinary_gc:
            (directory / "sitecustomize.py").write_text(ORDINARY_GC)
            environment["PYTHONPATH"] = os.pathsep.join([name, environment.get("PYTHONPATH", "")])
        arguments = ["--io-cpu", str(cores().client)] if variant.io_pinned else []
        with (
            daemon(
                bundle, directory, options.echo, log, pinned=pinned, realtime=variant.realtime,
                arguments=arguments, environment=environment,
            ) as gaitd,
            contenders.load(load),
        ):  # fmt: skip
            count = round(options.seconds * options.rate_hz)
            return gaitd.block(variant.transport, options.rate_hz, count, client)


def _row(variant: Variant, found: dict[str, Measured]) -> dict[str, Any]:
    mine = found[variant.name]
    row = {"variant": variant.name, "against": variant.against, "load": mine.load, **mine.times()}
    if variant.against:
        for name in PERCENTILES:
            row[f"{name}_ratio"] = mine.ratio(found[variant.against], name)
    return row


def table(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Lines of Markdown. Ratios are the median of the rounds', with the lowest and the highest."""
    heads = ["variant", "load", "p50 µs", "p99", "p99.9", "max", "superseded", "lost", "CPU %", "against"]
    heads += ["p50", "p99", "p99.9", "max"]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for row in rows:
        times = [f"{row[f'{name}_us']:.1f}" for name in PERCENTILES]
        fates = [str(row["superseded"]), str(row["lost"]), f"{row['cpu_percent']:.1f}"]
        ratios = [
            f"{row[key][0]:.2f} ({row[key][1]:.2f} to {row[key][2]:.2f})" if row["against"] else ""
            for key in (f"{name}_ratio" for name in PERCENTILES)
        ]
        cells = [row["variant"], row["load"], *times, *fates, row["against"], *ratios]
        lines.append("| " + " | ".join(cells) + " |")
    return lines
