"""Coverage-guided fuzzing for a bounded time: libFuzzer on the C++ readers, atheris on the Python ones."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from fuzz.native import REPOSITORY
from gaitd.shared.message_ring import RingShape
from support.rings import written_ring

ATHERIS_MISSING = (
    "atheris is missing: it has wheels for x86_64 and Python 3.10 to 3.13; pip install -e '.[dev]'"
)
NATIVE_TARGET = "decoders"
_OUTPUT_CHARACTERS = 3000


@dataclass(frozen=True)
class Outcome:
    """What one bounded run came to."""

    target: str
    runs: int
    """Inputs tried."""
    ok: bool
    output: str
    """The end of what it said."""


def atheris_available() -> bool:
    """Whether this Python has it."""
    return importlib.util.find_spec("atheris") is not None


def fuzz_python(target: str, seconds: int, work: Path) -> Outcome:
    """Run one of fuzz.targets."""
    command = [sys.executable, "-m", "fuzz.coverage", target, str(work / f"corpus-{target}")]
    return _run(target, command, seconds, work)


def fuzz_native(program: Path, seconds: int, work: Path) -> Outcome:
    """Run a libFuzzer program on the golden vectors and what it makes of them."""
    corpus = work / f"corpus-{program.name}"
    corpus.mkdir(parents=True, exist_ok=True)
    vectors = json.loads((REPOSITORY / "proto/golden/vectors.json").read_text())
    kinds = {"state": 0, "command": 1}
    for index, vector in enumerate(vectors):
        if vector["kind"] in kinds:
            header = bytes([kinds[vector["kind"]], vector["joints"] - 1])
            (corpus / f"vector-{index}").write_bytes(header + bytes.fromhex(vector["hex"]))
    (corpus / "ring").write_bytes(b"\x02\x07" + written_ring(RingShape(4, 128))[64:])
    (corpus / "reply").write_bytes(b"\x03\x00" + _hello_reply())
    return _run(program.name, [str(program), str(corpus)], seconds, work)


def _run(target: str, command: list[str], seconds: int, work: Path) -> Outcome:
    limits = [f"-max_total_time={seconds}", "-timeout=20", "-rss_limit_mb=2048", "-max_len=8192"]
    paths = [str(REPOSITORY / "tests"), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    done = subprocess.run(
        [*command, *limits, f"-artifact_prefix={work}/{target}-"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=seconds + 120,
    )
    runs = re.search(r"^Done (\d+) runs", done.stdout, re.MULTILINE)
    return Outcome(
        target, int(runs[1]) if runs else 0, done.returncode == 0, done.stdout[-_OUTPUT_CHARACTERS:]
    )


def _hello_reply() -> bytes:
    """gaitd's answer to the hello of a robot of one joint."""
    from gaitd.wire.control import Reply, encode_reply

    one = b"\0\0\x80?"
    body = {
        "gaitd": "1",
        "policies": [{"id": "0" * 16, "name": "p", "version": "1"}],
        "policy": 0,
        "period_ns": 12_000_000,
        "times": {"deadline_ns": 60_000_000, "first_command_ns": 500_000_000, "stance_ns": 300_000_000},
        "endpoints": [{"slot": 0, "transport": "zmq", "state": "state", "command": "command"}],
        "joints": ["hip"],
        "joint_targets": ["position"],
        "fields": ["orientation"],
        "inputs": [],
        "observation_dim": 45,
        "action_dim": 1,
        "velocity_command": {"unit": "si", "min": [-1.0] * 3, "max": [1.0] * 3},
        **dict.fromkeys(("default_joint_position", "stiffness", "damping", "fallback_damping"), one),
    }
    return encode_reply(Reply(1, True, body))
