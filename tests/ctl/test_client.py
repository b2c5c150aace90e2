"""gaitctl's connection, when what answers is no gaitd."""

from __future__ import annotations

import grp
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest
import zmq

from gaitd.bundle.store import PolicyStore
from gaitd.ctl.cli import main
from gaitd.ctl.client import ControlClient, read_status
from gaitd.errors import UnreachableError
from gaitd.wire.control import Reply, decode_request, encode_reply


def answering(directory: Path, *answers: bytes) -> threading.Thread:
    """Something that answers one request with these messages."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    router = context.socket(zmq.ROUTER)
    router.bind(f"ipc://{directory}/control.sock")

    def answer() -> None:
        peer, data = router.recv_multipart()
        request = decode_request(data)
        for message in (*answers, encode_reply(Reply(request.request_id, True, {"mode": "idle"}))):
            router.send_multipart([peer, message])
        context.destroy(linger=1000)

    thread = threading.Thread(target=answer)
    thread.start()
    return thread


JUNK = [
    b"",
    b"junk",
    b"\x91" * 5000,
    b"\x95\x02\x05\xff\xc3\x80",
    b"\x95\x02\x05\x01\xc3\x82\xa1a\x01\xa1a\x02",
]


def test_what_is_no_reply_is_passed_over(tmp_path: Path) -> None:
    thread = answering(tmp_path, *JUNK)
    with ControlClient(tmp_path, timeout_s=20) as client:
        assert client.demand("status") == {"mode": "idle"}
    thread.join()


def test_status_of_something_that_talks_junk(tmp_path: Path) -> None:
    thread = answering(tmp_path, *JUNK)
    assert read_status(tmp_path, timeout_s=20) == {"mode": "idle"}
    thread.join()


def test_damp_comes_again_when_its_connection_was_lost(tmp_path: Path) -> None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    router = context.socket(zmq.ROUTER)
    router.bind(f"ipc://{tmp_path}/control.sock")
    heard = []

    def answer_the_second() -> None:
        for _ in range(2):
            peer, data = router.recv_multipart()
            heard.append(decode_request(data).name)
        router.send_multipart([peer, encode_reply(Reply(decode_request(data).request_id, True, {}))])
        context.destroy(linger=1000)

    thread = threading.Thread(target=answer_the_second)
    thread.start()
    with ControlClient(tmp_path, timeout_s=2) as client:
        assert client.demand("damp", session=0, reason=1, detail="") == {}
    thread.join()
    assert heard == ["damp", "damp"]


def test_nobody_there(tmp_path: Path) -> None:
    with (
        ControlClient(tmp_path, timeout_s=0.1) as client,
        pytest.raises(UnreachableError, match="no gaitd answers"),
    ):
        client.ask("status")


@pytest.mark.parametrize(
    "command",
    [
        *(["damp"], ["status"], ["release"], ["doctor"], ["selftest"], ["bench"], ["safe-to-stop"]),
        ["activate", "ab", "--no-restart"],
    ],
)
def test_a_runtime_directory_too_long_for_a_socket(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PolicyStore.__init__, "__defaults__", (tmp_path,))
    store = ["--store", str(tmp_path)] if command[0] == "activate" else []
    code = main(["--runtime-dir", "/" + "p" * 110, *command, *store])
    error = capsys.readouterr().err
    assert code == 2
    assert error.count("\n") == 1
    if not store:
        assert "a Unix socket may have 107; take a shorter directory" in error


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become a user without rights: sudo make test")
@pytest.mark.parametrize(
    ("command", "code"),
    [("status", UnreachableError.exit_code), ("safe-to-stop", 2), ("bench", 2), ("doctor", 3)],
)
def test_a_user_without_rights_is_told_about_the_group(command: str, code: int) -> None:
    """As somebody who is not in the group gaitd."""
    directory = Path(tempfile.mkdtemp(prefix="gaitd-test-"))
    directory.chmod(0o750)
    group = grp.getgrall()[-1].gr_name
    shutil.chown(directory, group=group)
    with socket.socket(socket.AF_UNIX) as control:
        control.bind(str(directory / "control.sock"))
        program = (
            "import os, sys; from gaitd.ctl.cli import main; os.setgroups([]); os.setgid(65534); "
            f"os.setuid(65534); sys.exit(main(['--runtime-dir', {str(directory)!r}, {command!r}]))"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    shutil.rmtree(directory)
    told = done.stdout if command == "doctor" else done.stderr
    assert done.returncode == code
    assert f"the group {group} may: sudo usermod --append --groups {group} $USER" in told
    assert "--force" not in told
    assert "Traceback" not in done.stderr


def test_damp_that_no_controller_hears_of_is_no_success(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The request is granted, but nothing comes from the guardian's own endpoint."""
    thread = answering(tmp_path)
    assert main(["--runtime-dir", str(tmp_path), "damp"]) == 5
    assert "the robot may be walking" in capsys.readouterr().err
    thread.join()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["status", "--runtime-dir", "run"],
            "--runtime-dir stands before the command: gaitctl --runtime-dir DIR",
        ),
        (["explain", "--runtime-dir=run"], "--runtime-dir stands before the command"),
        (["status", "--colour"], "unrecognized arguments: --colour"),
    ],
)
def test_an_option_in_the_wrong_place_says_where_it_stands(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err
