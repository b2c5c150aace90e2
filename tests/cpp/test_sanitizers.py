"""The C++ tests under AddressSanitizer, ThreadSanitizer and valgrind.

Each must also find a mistake that is planted in a copy of the client: else its silence would prove nothing.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SOURCE = Path(__file__).parent
REPOSITORY = SOURCE.parents[1]
INCLUDE = REPOSITORY / "proto/cpp/include"

TESTS = ("codec", "latch", "ring", "client", "lane", "route", "embedded")
"""Those that replace no allocator of their own."""
UNDER_VALGRIND = ("codec", "latch", "client", "lane", "route")
"""Not the ring: its race of two threads takes valgrind, which runs one at a time, many minutes."""
THREADED = ("ring", "client", "lane", "route", "policy_runner", "embedded")
ADDRESS = "address,undefined"
THREAD = "thread"
VALGRIND = ("valgrind", "--quiet", "--error-exitcode=9", "--leak-check=full")
ENVIRONMENT = {
    **os.environ,
    "ASAN_OPTIONS": "detect_stack_use_after_return=1:detect_leaks=1",
    "UBSAN_OPTIONS": "print_stacktrace=1",
    "TSAN_OPTIONS": f"suppressions={SOURCE / 'tsan.supp'}",
}
WITHOUT_CHECK = ("gaitd/wire.hpp", "if (left() < bytes.size) return false;", "")
"""A blob may be longer than what is left of the message."""
WITHOUT_BOUND = ("gaitd/ring.hpp", " || length > room_", "")
"""A record may be longer than there is room for."""
WITHOUT_ATOMIC = (
    "gaitd/link.hpp",
    "std::atomic<Activation> activation_{Activation::None};",
    "struct { Activation value = Activation::None; Activation load() const { return value; } "
    "void store(Activation v) { value = v; } } activation_;",
)
"""The link thread writes how the activation goes, the control thread reads it."""

needs_clang = pytest.mark.skipif(
    shutil.which("clang++") is None or shutil.which("cmake") is None,
    reason="clang++ with its runtime, or cmake, is missing: sudo apt-get install clang libclang-rt-dev cmake",
)
needs_valgrind = pytest.mark.skipif(
    shutil.which("valgrind") is None, reason="valgrind is missing: sudo apt-get install valgrind"
)


def the_client_only_thoroughly(tests: tuple[str, ...]) -> list[Any]:
    """Its tests wait for real times, which these tools make long."""
    return [
        pytest.param(test, marks=[pytest.mark.thorough] if test in ("client", "lane", "embedded") else [])
        for test in tests
    ]


def run(*command: str | Path, ok: bool = True) -> str:
    """Run a command; its output. Fails the test when it does not end as expected."""
    done = subprocess.run(
        [str(part) for part in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=ENVIRONMENT,
        timeout=300,
    )
    if (done.returncode == 0) != ok:
        pytest.fail(f"{' '.join(map(str, command))}: {done.returncode}\n{done.stdout[-8000:]}", pytrace=False)
    return done.stdout


@functools.cache
def configured(sanitizers: str) -> Path:
    """The directory where the tests are built with these sanitizers."""
    build = REPOSITORY / "build" / f"cpp-{sanitizers.split(',')[0]}"
    run(
        *("cmake", "-S", SOURCE, "-B", build),
        *("-DCMAKE_CXX_COMPILER=clang++", f"-DGAITD_SANITIZE={sanitizers}"),
    )
    return build


def built(sanitizers: str, test: str) -> Path:
    """The test, built with these sanitizers."""
    build = configured(sanitizers)
    run("cmake", "--build", build, "--target", "vectors", "fake_runtime", f"test_{test}")
    return build / f"test_{test}"


def arguments(program: Path) -> tuple[Path, ...]:
    """What the test takes on its command line."""
    names = {"test_codec": "vectors.txt", "test_embedded": "libfake_runtime.so"}
    return (program.parent / names[program.name],) if program.name in names else ()


def planted(directory: Path, mistake: tuple[str, str, str], test: str, *flags: str) -> Path:
    """A test built on a copy of the client with one mistake in it."""
    name, right, wrong = mistake
    include = directory / "include"
    shutil.copytree(INCLUDE, include)
    text = (include / name).read_text()
    assert text.count(right) == 1
    (include / name).write_text(text.replace(right, wrong))
    program = directory / f"test_{test}"
    options = ("-std=c++17", "-O1", "-g", "-DMSGPACK_NO_BOOST", f"-I{include}", *flags)
    run(
        "c++" if not flags else "clang++",
        *options,
        SOURCE / f"test_{test}.cpp",
        "-o",
        program,
        "-lzmq",
        "-lpthread",
    )
    vectors = REPOSITORY / "proto/golden/vectors.json"
    run(sys.executable, SOURCE / "vectors_to_text.py", vectors, directory / "vectors.txt")
    return program


@needs_clang
@pytest.mark.parametrize("test", TESTS)
def test_under_address_and_undefined_behaviour_sanitizer(test: str) -> None:
    program = built(ADDRESS, test)
    run(program, *arguments(program))


@needs_clang
@pytest.mark.parametrize("test", the_client_only_thoroughly(THREADED))
def test_under_thread_sanitizer(test: str) -> None:
    program = built(THREAD, test)
    run(program, *arguments(program))


@needs_valgrind
@pytest.mark.parametrize("test", the_client_only_thoroughly(UNDER_VALGRIND))
def test_under_valgrind(build: Path, test: str) -> None:
    program = build / f"test_{test}"
    run(*VALGRIND, program, *arguments(program))


@needs_clang
def test_address_sanitizer_finds_a_planted_overflow(tmp_path: Path) -> None:
    program = planted(tmp_path, WITHOUT_CHECK, "codec", f"-fsanitize={ADDRESS}")
    assert "AddressSanitizer: heap-buffer-overflow" in run(program, *arguments(program), ok=False)


@needs_clang
def test_address_sanitizer_finds_a_planted_overflow_of_the_ring(tmp_path: Path) -> None:
    program = planted(tmp_path, WITHOUT_BOUND, "ring", f"-fsanitize={ADDRESS}")
    assert "AddressSanitizer: heap-buffer-overflow" in run(program, ok=False)


@needs_clang
@pytest.mark.thorough
def test_thread_sanitizer_finds_a_planted_race(tmp_path: Path) -> None:
    program = planted(tmp_path, WITHOUT_ATOMIC, "client", f"-fsanitize={THREAD}")
    output = run(program, ok=False)
    assert "ThreadSanitizer: data race" in output
    assert "gaitd::Link::activation() const" in output


@needs_valgrind
@pytest.mark.thorough
def test_valgrind_finds_a_planted_overflow(tmp_path: Path) -> None:
    program = planted(tmp_path, WITHOUT_CHECK, "codec")
    assert "Invalid read" in run(*VALGRIND, program, *arguments(program), ok=False)
