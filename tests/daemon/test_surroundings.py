"""What happens around a gaitd that walks: the wall clock is set, file systems become read-only or full."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from gaitd.wire.generated import Mode
from support.controller import Controller
from support.daemon import PATIENT, Gaitd, wait_until
from support.mounts import read_only, small_file_system

WALL_CLOCK = r"""
#define _GNU_SOURCE
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
static long calls;
static long jump(void) { return (__sync_fetch_and_add(&calls, 1) % 2 ? 1 : -1) * 90000L; }
int clock_gettime(clockid_t id, struct timespec *now) {
    int result = syscall(SYS_clock_gettime, id, now);
    if (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE) now->tv_sec += jump();
    return result;
}
int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec read;
    clock_gettime(CLOCK_REALTIME, &read);
    now->tv_sec = read.tv_sec;
    now->tv_usec = read.tv_nsec / 1000;
    return 0;
}
time_t time(time_t *result) {
    struct timespec read;
    clock_gettime(CLOCK_REALTIME, &read);
    if (result) *result = read.tv_sec;
    return read.tv_sec;
}
"""
"""Jumps by two days at each look: whoever waits by the wall clock waits for ever or not at all."""

RECORDING = PATIENT + '[recorder]\ndirectory = "{}"\n'


def walking(daemon: Gaitd) -> Controller:
    controller = daemon.wait_ready().controller()
    controller.activate()
    wait_until(lambda: any(controller.walk(3)), what="the first command")
    return controller


def assert_walks(controller: Controller) -> None:
    answers = wait_until(lambda: [answer for answer in controller.walk(10) if answer is not None])
    assert {answer.mode for answer in answers} == {Mode.ACTIVE}


def assert_recovers(daemon: Gaitd, controller: Controller) -> None:
    """A worker that dies is damping, a fresh one, and another walk."""
    worker = daemon.wait_worker()
    os.kill(worker, signal.SIGKILL)
    assert controller.wait_for(Mode.DAMPING).mode is Mode.DAMPING
    daemon.wait_worker(other_than=worker)
    controller.activate()
    wait_until(lambda: any(controller.walk(3)), what="the next session's first command")


@pytest.fixture
def scratch() -> Iterator[Path]:
    """A short path, for sockets."""
    with tempfile.TemporaryDirectory(prefix="gaitd-test-") as directory:
        yield Path(directory)


def test_a_wall_clock_that_jumps_changes_nothing(
    small_bundle_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler: sudo apt-get install gcc")
    library = tmp_path / "wall_clock.so"
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-x", "c", "-", "-o", str(library)],
        input=WALL_CLOCK,
        text=True,
        check=True,
    )
    monkeypatch.setenv("LD_PRELOAD", str(library))
    with Gaitd(small_bundle_path, config=PATIENT) as daemon:
        monkeypatch.delenv("LD_PRELOAD")
        controller = walking(daemon)
        assert_walks(controller)
        assert_recovers(daemon, controller)
        assert daemon.metrics()["gaitd_states_received_total"] > 0
        assert daemon.stop() == 0


def test_a_runtime_directory_and_recordings_that_become_read_only(
    small_bundle_path: Path, scratch: Path
) -> None:
    """The sockets stay. A worker that dies meanwhile comes back once its sockets can be made again."""
    bundle = shutil.copy(small_bundle_path, scratch / "walk.gaitd")
    with small_file_system(scratch, "4m"):
        bundle = shutil.copy(small_bundle_path, scratch / "walk.gaitd")
        config = RECORDING.format(scratch / "recordings")
        with Gaitd(bundle, runtime_dir=scratch / "run", config=config) as daemon:
            controller = walking(daemon)
            with read_only(scratch):
                assert_walks(controller)
                worker = daemon.worker_pid()
                os.kill(worker, signal.SIGKILL)
                assert controller.wait_for(Mode.DAMPING).mode is Mode.DAMPING
                wait_until(lambda: "recording not written" in daemon.log, what="a word about the recording")
                wait_until(
                    lambda: "cannot be bound: Read-only" in daemon.log, 30.0, what="the worker's error"
                )
            daemon.wait_worker(other_than=worker)
            controller.activate()
            wait_until(lambda: any(controller.walk(3)), what="the next session's first command")


def test_a_full_dev_shm_is_not_needed(small_bundle_path: Path) -> None:
    def fill() -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        unshare, private, tmpfs = 0x20000, 0x44000, b"tmpfs"
        if libc.unshare(unshare) or libc.mount(b"none", b"/", None, private, None):
            os._exit(77)
        if libc.mount(tmpfs, b"/dev/shm", tmpfs, 0, b"size=4k"):
            os._exit(77)
        Path("/dev/shm/full").write_bytes(b"x" * 4096)

    with Gaitd(small_bundle_path, config=PATIENT, process={"preexec_fn": fill}) as daemon:
        try:
            controller = walking(daemon)
        except AssertionError:
            if daemon.process.poll() == 77:
                pytest.skip("only root may mount file systems: sudo make test")
            raise
        assert_walks(controller)
        assert_recovers(daemon, controller)
