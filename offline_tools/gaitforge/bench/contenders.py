"""Who is measured by the comparison: each a server that runs, and a role of echo_bench against it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import onnxruntime

from gaitd.bundle.compiled import compile_policy
from gaitd.bundle.read import open_bundle
from gaitd.errors import InputError
from gaitforge.bench.block import CLOSED, PRIORITY, Block, Cores, run_block
from gaitforge.bench.daemon import Daemon, at_rate, daemon, process

ECHO, CPP_ONNX, THREAD = "c++ zeromq echo", "c++ zeromq onnxruntime", "onnxruntime in a thread"
"""What the others are held against: without inference, with it, and with it in one process."""
BUSY_LOOP = "while True: pass"


@dataclass(frozen=True)
class Contender:
    """One of them."""

    name: str
    role: str
    """Of echo_bench."""
    server: str = ""
    """Which one answers it; empty: none."""
    transport: str = ""
    """gaitd's."""
    closed: bool = True
    """It can go one round trip after the other; a policy of ours refuses states that come too fast."""


CONTENDERS = (
    Contender(ECHO, "bare", "echo"),
    Contender("in-process onnxruntime", "onnx"),
    Contender(THREAD, "thread"),
    Contender("embedded", "embedded", closed=False),
    Contender(CPP_ONNX, "bare", "onnx"),
    Contender("python req/rep", "request", "python"),
    Contender("gaitd zeromq", "gaitd", "gaitd", "zmq", closed=False),
    Contender("gaitd shm", "gaitd", "gaitd", "shm", closed=False),
)


@dataclass(frozen=True)
class Servers:
    """All that runs at one rate."""

    echo: Path
    directory: Path
    here: Sequence[str]
    """Arguments of echo_bench that infers itself."""
    cores: Cores | None
    gaitd: Daemon | None

    def block(self, contender: Contender, rate_hz: float, count: int) -> Block:
        """A block of that one's round trips. Raises GaitdError."""
        core = None if self.cores is None else self.cores.client
        if contender.transport:
            assert self.gaitd is not None
            return self.gaitd.block(contender.transport, rate_hz, count, core)
        where = ["--endpoint-dir", str(self.directory / contender.server)] if contender.server else self.here
        samples = self.directory / "samples.txt"
        return run_block(self.echo, [contender.role, *where], rate_hz, count, samples, core)[0]


@contextlib.contextmanager
def servers(
    bundle: Path, echo: Path, directory: Path, rate_hz: float, log: IO[bytes], pinned: Cores | None
) -> Iterator[Servers]:
    """Run all servers, gaitd with the policy at that rate. Python's is neither pinned nor prioritized.

    Raises GaitdError when gaitd does not get ready.
    """
    directory.mkdir()
    model = inference(bundle, directory / "model.onnx")
    with contextlib.ExitStack() as stack:
        core = [] if pinned is None else ["--cpu", str(pinned.server)]
        for name, more in (("echo", []), ("onnx", model)):
            (directory / name).mkdir()
            serve = ["serve", "--endpoint-dir", str(directory / name), "--priority", str(PRIORITY), *core]
            stack.enter_context(process([str(echo), *serve, *more], log))
        (directory / "python").mkdir()
        naive = ["-m", "gaitforge.bench.naive_server", str(bundle), str(directory / "python/policy.sock")]
        stack.enter_context(process([sys.executable, *naive], log))
        here = model if pinned is None else [*model, "--io-cpu", str(pinned.server)]
        gaitd = None
        if rate_hz != CLOSED:
            faster = at_rate(bundle, rate_hz, directory / "policy.gaitd")
            gaitd = stack.enter_context(daemon(faster, directory, echo, log, pinned=pinned))
            compiled = directory / "policy.gaitdc"
            compiled.write_bytes(compile_policy(open_bundle(faster)))
            here = [*here, "--policy", str(compiled)]
        yield Servers(echo, directory, here, pinned, gaitd)


def inference(bundle: Path, target: Path) -> list[str]:
    """Arguments with which echo_bench runs that bundle's model, written to ``target``.

    Raises InputError for a model with several inputs or without an onnxruntime of its own library.
    """
    whole = open_bundle(bundle)
    model = whole.manifest.model
    if model.recurrent or "model.onnx" not in whole.files:
        raise InputError(f"{bundle}: the comparison needs a model.onnx without a hidden state")
    libraries = sorted((Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.so*"))
    if not libraries:
        raise InputError(f"onnxruntime {onnxruntime.__version__} brings no libonnxruntime.so here")
    target.write_bytes(whole.read_bytes("model.onnx"))
    pipeline = whole.pipeline()
    return [
        "--model", str(target), "--onnxruntime", str(libraries[0]), "--input", model.input,
        "--output", model.output, "--observation", str(pipeline.builder.dim),
        "--action", str(pipeline.mapper.action_dim),
    ]  # fmt: skip


@contextlib.contextmanager
def load(name: str) -> Iterator[None]:
    """``idle``, or ``busy``: one busy program per core beside it."""
    with contextlib.ExitStack() as busy:
        if name == "busy":
            for _ in range(os.cpu_count() or 1):
                busy.enter_context(process([sys.executable, "-c", BUSY_LOOP], subprocess.DEVNULL))
        yield
