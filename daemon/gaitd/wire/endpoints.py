"""Where the channels of the wire contract are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath

from gaitd.wire.generated import CHANNELS


def slot_channels(slot: int) -> tuple[str, str]:
    """The state and the command channel of a worker's slot; only those of slot 0 have TCP ports."""
    return ("state", "command") if slot == 0 else (f"state{slot}", f"cmd{slot}")


def local_endpoint(directory: PurePath, channel: str) -> str:
    """The Unix socket of a channel."""
    return f"ipc://{directory}/{channel}.sock"


@dataclass(frozen=True, slots=True)
class Endpoints:
    """The ZeroMQ endpoints of one gaitd."""

    state: str
    """The worker binds a SUB; controllers connect a PUB."""
    command: str
    """The worker binds a PUB."""
    guard: str
    """The guardian binds a PUB; controllers connect one SUB to command and guard."""
    control: str
    """The guardian binds a ROUTER; controllers and gaitctl connect a DEALER."""

    @classmethod
    def in_directory(cls, directory: PurePath) -> Endpoints:
        """The ipc endpoints under a directory, /run/gaitd on a robot."""
        return cls(*(local_endpoint(directory, name) for name in CHANNELS))

    @classmethod
    def on_host(cls, host: str, port: int) -> Endpoints:
        """The tcp endpoints of a host: four ports in a row, the state channel's first."""
        return cls(*(f"tcp://{host}:{port + index}" for index in range(len(CHANNELS))))
