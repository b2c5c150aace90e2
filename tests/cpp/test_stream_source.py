"""A stream's producer in C++, against a real gaitd."""

from __future__ import annotations

import subprocess
from pathlib import Path

from support.daemon import PATIENT, Gaitd, wait_until
from support.streams import FRESH, SEEN, STALE, stream_bundle, stream_of, walk_until


def test_frames_from_cpp_are_seen_until_their_producer_is_killed(build: Path, tmp_path: Path) -> None:
    program = str(build / "stream_source")
    with Gaitd(stream_bundle(tmp_path / "zeros.gaitd"), config=PATIENT) as gaitd:
        runtime_dir = str(gaitd.wait_ready().runtime_dir)
        other = subprocess.run([program, runtime_dir], capture_output=True, text=True, timeout=20)
        assert other.returncode == 2
        assert other.stderr == "stream height: the policy expects float32 2x3, not 'uint8 2x3'\n"
        source = subprocess.Popen([program, runtime_dir, str(SEEN)])
        try:
            controller = gaitd.controller()
            wait_until(lambda: not stream_of(gaitd)["stale"], what="a fresh stream")
            controller.activate()
            walk_until(controller, FRESH)
            source.kill()
            assert walk_until(controller, STALE) <= {FRESH}
            assert stream_of(gaitd)["refused"] == {}
            controller.control.demand("release", session=controller.session)
            wait_until(lambda: not stream_of(gaitd)["producer"], what="that its end is noticed")
            source.wait()
            source = subprocess.Popen([program, runtime_dir, str(SEEN)])
            wait_until(lambda: not stream_of(gaitd)["stale"], what="a fresh stream")
            gaitd.process.kill()
            assert source.wait(10) == 0, "it sees that gaitd is gone"
        finally:
            source.kill()
            source.wait()


def test_without_gaitd_it_says_so(build: Path, tmp_path: Path) -> None:
    program = str(build / "stream_source")
    done = subprocess.run([program, str(tmp_path), "1"], capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stderr) == (2, f"{tmp_path}/stream.sock: No such file or directory\n")
