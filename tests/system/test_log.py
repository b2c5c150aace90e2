"""Log lines: one for each record, whoever wrote what is in it."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gaitd.errors import InputError
from gaitd.system.command_line import run_command
from gaitd.system.log import log, start_logging

EVIL = "a\nMAINPID=1 \x1b[2J\u202e" + "x" * 10_000


def test_a_record_is_one_line(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ({"JOURNAL_STREAM": "1:2"}, {}):
        monkeypatch.delenv("JOURNAL_STREAM", raising=False)
        for name, value in variable.items():
            monkeypatch.setenv(name, value)
        writer = start_logging()
        logging.getLogger("gaitd").warning("worker died error=%s", EVIL)
        writer.stop()
        (line,) = capfd.readouterr().err.splitlines()
        assert line.isprintable()
        assert "worker died error=a MAINPID=1" in line
        assert len(line) < 5000


def test_a_traceback_keeps_its_lines(capfd: pytest.CaptureFixture[str]) -> None:
    writer = start_logging()
    try:
        raise ValueError("why")
    except ValueError:
        logging.getLogger("gaitd").exception("what")
    writer.stop()
    text = capfd.readouterr().err
    assert "Traceback" in text
    assert text.rstrip().endswith("ValueError: why")
    assert text.count("\n") > 2


def test_an_error_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    def command() -> int:
        raise InputError(EVIL)

    assert run_command("gaitd", command) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("gaitd: error: a MAINPID=1")
    assert line.isprintable()
    assert len(line) < 5000


def test_an_argument_that_is_no_utf_8_is_an_error_of_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command("gaitctl", lambda: len("walk\udcff".encode())) == 2
    assert "walk\\udcff: not UTF-8" in capsys.readouterr().err


TALK = """
import logging, sys, time
from gaitd.system.log import log, start_logging
writer = start_logging()
for _ in range(2000):
    logging.getLogger("gaitd").info("x" * 200)
print("said", flush=True)
writer.stop()
"""


def test_a_pipe_that_nobody_reads_holds_up_neither_the_lines_nor_the_end() -> None:
    command = [sys.executable, "-c", TALK]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"said\n"
        assert process.wait(5) == 0


def test_in_the_journal_each_name_is_a_field(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        journal.bind(str(tmp_path / "journal"))
        journal.settimeout(5)
        stream = os.fstat(2)
        monkeypatch.setenv("JOURNAL_STREAM", f"{stream.st_dev}:{stream.st_ino}")
        writer = start_logging(tmp_path / "journal")
        log.warning("mode", mode="damping", session=7, detail="it is 100 % late", _bad=1)
        logging.getLogger("gaitd").info("two\nlines are one, as ever")
        first, second = (dict(fields(journal.recv(65536))) for _ in range(2))
        writer.stop()
    assert first["MESSAGE"] == 'mode mode=damping session=7 detail="it is 100 % late" _bad=1'
    assert (first["PRIORITY"], first["MODE"], first["SESSION"]) == ("4", "damping", "7")
    assert first["DETAIL"] == "it is 100 % late"
    assert "_BAD" not in first
    assert (second["MESSAGE"], second["PRIORITY"]) == ("two lines are one, as ever", "6")
    assert capfd.readouterr().err == ""


def fields(data: bytes) -> Iterator[tuple[str, str]]:
    """The journal's own protocol (systemd: Native Journal Protocol)."""
    while data:
        head, _, rest = data.partition(b"\n")
        name, equals, value = head.partition(b"=")
        if not equals:
            size = int.from_bytes(rest[:8], "little")
            value, rest = rest[8 : 8 + size], rest[9 + size :]
        yield name.decode(), value.decode()
        data = rest


def test_without_a_journal_the_lines_go_to_standard_error(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = os.fstat(2)
    monkeypatch.setenv("JOURNAL_STREAM", f"{stream.st_dev}:{stream.st_ino}")
    writer = start_logging(tmp_path / "none")
    log.info("worker ready", pid=3)
    writer.stop()
    assert capfd.readouterr().err == "worker ready pid=3\n"
