"""The C++ tests of the shared-memory ring as an aarch64 program, under qemu-user on two threads.

The emulator runs on x86, whose memory keeps more order than ARM64's: what ARM64 may reorder is explored in
tests/cpp/test_memory_order.py. This shows that the program is right there otherwise, and that its barriers
are in what the compiler made.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
TOOLS = ("aarch64-linux-gnu-g++", "aarch64-linux-gnu-objdump", "qemu-aarch64-static")
BARRIERS = {"ring6WriterE": ["dmb ish", "stlr"], "ring12NewestReaderE": ["ldar", "dmb ishld"]}
"""Which instructions order memory, one after the other, where the test writes and where it takes a message.
By a part of the function's mangled name."""


@pytest.mark.board
def test_the_ring_under_emulation(tmp_path: Path) -> None:
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not found: make test-target installs them")
    compiler, objdump, emulator = TOOLS
    program = tmp_path / "test_ring"
    includes = [f"-I{REPOSITORY / place}" for place in ("proto/cpp/include", "tests/cpp")]
    options = ["-std=c++17", "-O2", "-static", "-Wall", "-Wextra", "-Werror", *includes]
    source = REPOSITORY / "tests/cpp/test_ring.cpp"
    subprocess.run([compiler, *options, source, "-o", program, "-lpthread"], check=True)
    code = subprocess.run([objdump, "-d", program], check=True, capture_output=True, text=True).stdout
    for name, barriers in BARRIERS.items():
        (function,) = [part for part in code.split("\n\n") if name in part.partition(">:")[0]]
        found = re.findall(r"\t(stlr|ldar|dmb)(?:\t(ish\w*))?", function)
        assert [" ".join(filter(None, each)) for each in found] == barriers
    done = subprocess.run([emulator, program], capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stdout
    assert "two_threads_at_full_speed" in done.stdout
