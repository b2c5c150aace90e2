from __future__ import annotations

from pathlib import PurePosixPath

from gaitd.wire.endpoints import Endpoints


def test_the_sockets_of_a_directory() -> None:
    assert Endpoints.in_directory(PurePosixPath("/run/gaitd")) == Endpoints(
        state="ipc:///run/gaitd/state.sock",
        command="ipc:///run/gaitd/command.sock",
        guard="ipc:///run/gaitd/guard.sock",
        control="ipc:///run/gaitd/control.sock",
    )


def test_four_ports_in_a_row() -> None:
    assert Endpoints.on_host("192.168.1.120", 9460) == Endpoints(
        state="tcp://192.168.1.120:9460",
        command="tcp://192.168.1.120:9461",
        guard="tcp://192.168.1.120:9462",
        control="tcp://192.168.1.120:9463",
    )
