"""The Unix sockets are for gaitd's user and group, tried by users inside and outside of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from gaitd.wire.generated import CHANNELS
from support.daemon import PATIENT, Gaitd, wait_until

GROUP = 64210
"""Stands for the group gaitd; it need not be in /etc/group."""
SOMEBODY = 64211
BECOME = f"""
import json, os, socket, sys
import gaitd.ctl.cli
os.setgroups([int(group) for group in sys.argv.pop(1).split()])
os.setgid({SOMEBODY})
os.setuid({SOMEBODY})
"""
"""First everything is loaded: the user need not be able to read the interpreter and the sources."""
CONNECT = """
results = {}
for path in sys.argv[1:]:
    try:
        socket.socket(socket.AF_UNIX).connect(path)
        results[path.rpartition("/")[2]] = "connected"
    except OSError as error:
        results[path.rpartition("/")[2]] = error.strerror
print(json.dumps(results))
"""
GAITCTL = "sys.exit(gaitd.ctl.cli.main())"


def as_user(program: str, *arguments: str, groups: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", BECOME + program, groups, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=30)


@pytest.fixture(scope="module", params=[0o000, 0o022])
def shared(request: pytest.FixtureRequest, small_bundle_path: Path) -> Iterator[Gaitd]:
    """gaitd in the group, started with that umask, its runtime directory in a place that all may enter."""
    if os.geteuid() != 0:
        pytest.skip("only root may try as other users: sudo make test")
    with tempfile.TemporaryDirectory(prefix="gaitd-test-") as scratch:
        Path(scratch).chmod(0o755)
        process = {"group": GROUP, "umask": request.param}
        runtime_dir = Path(scratch) / "run"
        config = f'{PATIENT}[metrics]\naddress = "{runtime_dir}/metrics.sock"\n'
        with Gaitd(small_bundle_path, runtime_dir=runtime_dir, config=config, process=process) as daemon:
            daemon.wait_ready()
            wait_until((runtime_dir / "metrics.sock").exists, what="the metrics socket")
            yield daemon


SOCKETS = [f"{channel}.sock" for channel in (*CHANNELS, "metrics")]


def test_directory_and_sockets_belong_to_owner_and_group(shared: Gaitd) -> None:
    directory = shared.runtime_dir.stat()
    assert (directory.st_mode & 0o7777, directory.st_gid) == (0o750, GROUP)
    for name in SOCKETS:
        status = (shared.runtime_dir / name).stat()
        assert (status.st_mode & 0o7777, status.st_gid) == (0o660, GROUP), name


@pytest.mark.parametrize(("groups", "result"), [(str(GROUP), "connected"), ("", "Permission denied")])
def test_only_the_group_connects(shared: Gaitd, groups: str, result: str) -> None:
    paths = [str(shared.runtime_dir / name) for name in SOCKETS]
    done = as_user(CONNECT, *paths, groups=groups)
    assert json.loads(done.stdout) == dict.fromkeys(SOCKETS, result)


def test_the_sockets_protect_themselves_where_the_directory_does_not(shared: Gaitd) -> None:
    shared.runtime_dir.chmod(0o755)
    try:
        test_only_the_group_connects(shared, "", "Permission denied")
    finally:
        shared.runtime_dir.chmod(0o750)


@pytest.mark.parametrize(("groups", "code"), [(str(GROUP), 0), ("", 5)])
def test_only_the_group_has_an_answer(shared: Gaitd, groups: str, code: int) -> None:
    done = as_user(GAITCTL, "--runtime-dir", str(shared.runtime_dir), "status", groups=groups)
    assert done.returncode == code, done.stderr
