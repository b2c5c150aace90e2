"""gaitctl's connection, when what answers is no gaitd."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import zmq

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


def test_nobody_there(tmp_path: Path) -> None:
    with (
        ControlClient(tmp_path, timeout_s=0.1) as client,
        pytest.raises(UnreachableError, match="no gaitd answers"),
    ):
        client.ask("status")
