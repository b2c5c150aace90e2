"""Who gets which lane of shared memory, and what is left when somebody goes."""

from __future__ import annotations

import fcntl
import os
import socket
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from gaitd.errors import InputError, ResourceError
from gaitd.guardian.lanes import GREETING, Lanes
from gaitd.shared.guard_memory import GuardMemory
from gaitd.shared.lanes import LANES
from gaitd.shared.memory import map_memory
from gaitd.worker.lanes import Lanes as WorkerLanes
from gaitd.worker.step import Frame
from support.lane_client import LaneClient

ROOM = 256


class Bench:
    """The guardian's end, and a worker's of slot 0; both are served by hand."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.guard = GuardMemory.create(12)
        self.lanes = Lanes(directory, ROOM, [0], self.guard)
        self.launch = self.lanes.launch(0)
        self.worker = WorkerLanes(self.launch, self.guard)

    def states(self) -> list[bytes]:
        frames: list[Frame] = []
        self.worker.take_into(frames, 64)
        return [frame.data for frame in frames]

    def lane_words(self) -> list[int]:
        return self.guard.words.row("lanes").tolist()


class Client(LaneClient):
    """A controller that is served at once."""

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench.directory)
        bench.lanes.serve()
        self.said = self.take()


@pytest.fixture
def bench() -> Iterator[Bench]:
    with tempfile.TemporaryDirectory(prefix="gaitd-") as directory:
        made = Bench(Path(directory))
        yield made
        made.lanes.close()


def test_states_go_to_the_worker_and_commands_come_back(bench: Bench) -> None:
    client = Client(bench)
    assert client.said == GREETING.decode()
    client.states.append(b"first state")  # before the worker has ever looked at this lane
    client.states.append(b"second state")
    assert bench.worker.has_message
    assert bench.states() == [b"first state", b"second state"]
    assert not bench.worker.has_message
    bench.worker.send(b"command")
    bench.lanes.send(b"damping")
    assert (client.commands.take(), client.guardian.take()) == (b"command", b"damping")
    assert os.eventfd_read(client.wake_fd) == 2


def test_every_client_has_a_lane_of_its_own_and_hears_every_command(bench: Bench) -> None:
    clients = [Client(bench) for _ in range(3)]
    for number, client in enumerate(clients):
        client.states.append(b"of %d" % number)
    assert bench.states() == [b"of 0", b"of 1", b"of 2"]
    bench.worker.send(b"to all")
    assert [client.commands.take() for client in clients] == [b"to all"] * 3
    assert [os.eventfd_read(client.wake_fd) for client in clients] == [1, 1, 1]


def test_a_flood_in_one_lane_is_taken_in_bounded_portions(bench: Bench) -> None:
    client = Client(bench)
    for number in range(200):
        client.states.append(b"%d" % number)
    frames: list[Frame] = []
    bench.worker.take_into(frames, 10)
    assert [frame.data for frame in frames] == [b"%d" % number for number in range(137, 147)]


def test_a_lane_comes_back_empty_when_its_client_is_gone(bench: Bench) -> None:
    client = Client(bench)
    client.states.append(b"of the first one")
    os.set_blocking(client.wake_fd, True)
    bench.worker.send(b"an old command")
    client.close()
    bench.lanes.serve()
    assert bench.lane_words() == [0] * LANES
    assert bench.states() == []  # nobody is there any more
    fresh = Client(bench)
    assert bench.states() == []
    fresh.states.append(b"of the second one")
    assert bench.states() == [b"of the second one"]
    assert not os.get_blocking(fresh.wake_fd)
    with pytest.raises(BlockingIOError):
        os.eventfd_read(fresh.wake_fd)


def test_a_fresh_worker_begins_behind_the_states_that_were_there_before_it(bench: Bench) -> None:
    client = Client(bench)
    client.states.append(b"before")
    fresh = WorkerLanes(bench.launch, bench.guard)
    assert not fresh.has_message
    client.states.append(b"after")
    frames: list[Frame] = []
    fresh.take_into(frames, 64)
    assert [frame.data for frame in frames] == [b"after"]


def test_when_all_lanes_are_taken_the_next_client_hears_what_to_do(bench: Bench) -> None:
    clients = [Client(bench) for _ in range(LANES)]
    late = Client(bench)
    assert late.fds == []
    assert "all 8 lanes of gaitd's shared memory are taken" in late.said
    clients[3].close()
    bench.lanes.serve()
    assert Client(bench).said == GREETING.decode()
    assert sorted(bench.lane_words()) == [1, 2, 3, 5, 6, 7, 8, 9]


def test_a_client_that_says_something_or_hangs_up_at_once_costs_nothing(bench: Bench) -> None:
    talker = Client(bench)
    talker.socket.send(b"hello?")
    bench.lanes.serve()
    assert bench.lane_words() == [0] * LANES
    hasty = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    hasty.connect(str(bench.directory / "shm.sock"))
    hasty.close()
    bench.lanes.serve()
    bench.lanes.serve()
    assert bench.lane_words() == [0] * LANES


def test_no_client_can_shrink_seal_or_write_what_is_not_its_own(bench: Bench) -> None:
    client = Client(bench)
    state, guard, command = client.state_fd, client.guard_fd, client.command_fd
    for fd in (state, guard, command):
        with pytest.raises(PermissionError if fd == state else OSError):
            os.ftruncate(fd, 64)
        with pytest.raises(PermissionError):
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)
    for fd in (guard, command):
        with pytest.raises(PermissionError):
            map_memory(fd, writable=True)


def test_the_socket_is_for_the_group_and_replaces_that_of_a_killed_gaitd(bench: Bench) -> None:
    path = bench.directory / "shm.sock"
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    again = Lanes(bench.directory, ROOM, [0], bench.guard)  # the first one's file is still there
    again.close()
    assert not path.exists()


def test_a_directory_without_room_for_the_socket_is_named(tmp_path: Path, bench: Bench) -> None:
    with pytest.raises(InputError, match=r"absent/shm\.sock: No such file.*daemon\.runtime_dir"):
        Lanes(tmp_path / "absent", ROOM, [0], bench.guard)


def test_without_seals_there_is_no_shared_memory(
    tmp_path: Path, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(name: str, flags: int) -> int:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "memfd_create", refused)
    with pytest.raises(ResourceError, match=r"memfd_create.*set daemon\.transport"):
        Lanes(tmp_path, ROOM, [0], bench.guard)
