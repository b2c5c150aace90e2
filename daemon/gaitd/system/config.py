"""gaitd.toml: typed, documented, checked. Every field has a default; unknown fields are refused."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Literal

import msgspec

from gaitd.system.runtime_dir import LONGEST_SOCKET, check_socket_path
from gaitd.wire.generated import (
    CHANNELS,
    DEADLINE_PERIODS,
    DEFAULT_PORT,
    FIRST_COMMAND_NS,
    MAX_FIRST_COMMAND_NS,
    MAX_STANCE_NS,
    STATE_MAX_AGE_PERIODS,
)

Cpu = Annotated[int, msgspec.Meta(ge=0, le=1023)]
Priority = Annotated[int, msgspec.Meta(ge=1, le=98)]
Name = Annotated[str, msgspec.Meta(pattern=r"^[^\x00]*$")]
"""Of a file, which never holds a zero byte."""


class _Section(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    pass


class Daemon(_Section, frozen=True, kw_only=True):
    """What runs, and where its sockets are."""

    runtime_dir: Name = "/run/gaitd"
    """Directory of the sockets, readable by the owner and the group only."""
    backend: Literal["auto", "onnx", "rknn", "rknnlite"] = "auto"
    """auto: rknn where the bundle holds model.rknn and this is an RK3588, else onnx; also onnx, with a
    warning, where rknn turns out not to work. Any other name: that one or nothing. rknn binds Rockchip's
    C library, rknnlite goes through its Python package; gaitctl selftest --compare shows the difference."""
    npu_core: Literal["0", "1", "2"] = "0"
    """The NPU core that runs the model."""
    transport: Literal["zmq", "shm"] = "zmq"
    """shm: controllers on this machine may exchange states and commands through shared memory, which is
    faster than sockets; ZeroMQ is served beside it. zmq: only ZeroMQ."""
    keep_warm_s: Annotated[float, msgspec.Meta(gt=0, le=2.5)] = 1.0
    """Without a session, infer this often: the NPU powers down after 3 s of idling."""
    rehearsal: bool = False
    """gaitctl rehearse may order backend errors, on the stand: the worker's backend fails after SIGUSR1.
    Not for walking."""

    def __post_init__(self) -> None:
        """Refuse a directory whose sockets would have too long a path. Raises ValueError."""
        check_socket_path(f"{self.runtime_dir}/{LONGEST_SOCKET}")


class Network(_Section, frozen=True, kw_only=True):
    """The channels over TCP as well, encrypted, for peers with a key; the Unix sockets stay as they are."""

    address: str = ""
    """The robot's IPv4 address to listen on, as in "192.168.1.120"; empty: no TCP. It needs both files."""
    port: Annotated[int, msgspec.Meta(ge=1, le=65536 - len(CHANNELS))] = DEFAULT_PORT
    """Port of the state channel; command, guard and control have the next three."""
    server_key: Name = ""
    """File with gaitd's own secret key, as in "/etc/gaitd/robot.key"; gaitctl keygen makes it."""
    allowed_keys: Name = ""
    """File of the public keys that may connect, as in "/etc/gaitd/allowed_keys": a name and key on each line.
    Whoever is on it may move the joints. It is read when gaitd starts."""

    def __post_init__(self) -> None:
        """Refuse TCP without keys. Raises ValueError."""
        if not self.address:
            return
        try:
            ipaddress.IPv4Address(self.address)
        except ValueError:
            raise ValueError(f"address: {self.address!r} is not an IPv4 address") from None
        for field, text in (("server_key", self.server_key), ("allowed_keys", self.allowed_keys)):
            if not text:
                raise ValueError(
                    f"{field} is empty: there is no TCP without keys; make them with gaitctl keygen, "
                    "or set address to an empty string"
                )


class Guard(_Section, frozen=True, kw_only=True):
    """When to go to damping. Multiples of the policy's control period."""

    deadline_periods: Annotated[float, msgspec.Meta(ge=2, le=20)] = DEADLINE_PERIODS
    """Without a fresh valid command for this long: damping. The worker's lease lasts as long."""
    state_max_age_periods: Annotated[float, msgspec.Meta(ge=1, le=5)] = STATE_MAX_AGE_PERIODS
    """An older state is not answered."""
    first_command_s: Annotated[float, msgspec.Meta(gt=0, le=MAX_FIRST_COMMAND_NS / 1e9)] = (
        FIRST_COMMAND_NS / 1e9
    )
    """How long after activate the first command may take."""
    stance_s: Annotated[float, msgspec.Meta(ge=0, le=MAX_STANCE_NS / 1e9)] = 0.0
    """Before damping, hold the policy's default stance for this long, with the policy's own gains.
    0: damping at once."""
    fallback_damping_min_nms_per_rad: Annotated[float, msgspec.Meta(ge=0, le=1000)] = 0.5
    """A policy whose fallback_damping_nms_per_rad has a joint below it does not run: the robot would drop.
    In simulation a walking Lite3 sinks with 0.4 m/s at 2.5, 1 m/s at 0.5, 1.7 m/s at 0. Set both bounds for a
    robot of another size."""
    fallback_damping_max_nms_per_rad: Annotated[float, msgspec.Meta(gt=0, le=1000)] = 20.0
    """The same above it: the joints shake instead of giving way; the Lite3 no longer lies down at 30."""

    def __post_init__(self) -> None:
        """Refuse bounds that contradict each other. Raises ValueError."""
        if self.state_max_age_periods >= self.deadline_periods:
            raise ValueError(
                f"state_max_age_periods is {self.state_max_age_periods:g} and deadline_periods "
                f"{self.deadline_periods:g}: a state could be answered after the deadline; set "
                "deadline_periods above state_max_age_periods"
            )
        low, high = self.fallback_damping_min_nms_per_rad, self.fallback_damping_max_nms_per_rad
        if low > high:
            raise ValueError(
                f"fallback_damping_min_nms_per_rad is {low:g} and fallback_damping_max_nms_per_rad "
                f"{high:g}: no policy could run; set the one above the other"
            )


class Realtime(_Section, frozen=True, kw_only=True):
    """Scheduling of the hot threads. Each setting that is not available is a warning."""

    enabled: bool = True
    """false: ask for none of it."""
    worker_cpus: list[Cpu] = []
    """Cores of the worker; empty: no pinning. On an RK3588 the big ones are 4 to 7."""
    guardian_cpus: list[Cpu] = []
    """Cores of the guardian; best another core than the worker's."""
    worker_priority: Priority = 60
    """SCHED_FIFO priority."""
    guardian_priority: Priority = 70
    """SCHED_FIFO priority, above worker_priority."""
    standby_cpus: list[Cpu] = []
    """Cores of the standby; best others than the worker's, which a worker that hangs may hold."""
    standby_priority: Priority = 50
    """SCHED_FIFO priority, below worker_priority: following must not make the worker late."""
    anticipate_ms: Annotated[float, msgspec.Meta(ge=0, le=3)] = 1.2
    """In a session, be awake and warm this long before the next state is due: nearly halves the time to the
    command. Costs that share of the worker's core; 0 turns it off. It needs SCHED_FIFO."""
    lock_memory: bool = True
    """mlockall: no page of the hot processes is ever swapped or dropped."""
    cpu_dma_latency: bool = True
    """Hold /dev/cpu_dma_latency at 0: no deep sleep of the cores."""

    def __post_init__(self) -> None:
        """Refuse a worker that could keep the guardian waiting. Raises ValueError."""
        if self.guardian_priority <= self.worker_priority:
            raise ValueError(
                f"guardian_priority is {self.guardian_priority} and worker_priority "
                f"{self.worker_priority}: a busy worker would keep the guardian from its tick; set "
                "guardian_priority above worker_priority"
            )
        if self.standby_cpus and set(self.standby_cpus) <= set(self.worker_cpus):
            raise ValueError(
                f"standby_cpus is {self.standby_cpus} and worker_cpus {self.worker_cpus}: a worker that "
                "hangs could keep the standby from its core; give standby_cpus another core"
            )


class Standby(_Section, frozen=True, kw_only=True):
    """A second worker that follows each session; the robot walks on with it when the first one fails."""

    mode: Literal["auto", "on", "off"] = "auto"
    """on: the bundle's model.onnx on the CPU, whatever daemon.backend runs, in a second worker. auto: where
    the worker runs on the NPU, the bundle's report says that the gate walked its failovers, and the memory
    suffices; gaitctl status and gaitd check say which and why."""


class Switch(_Section, frozen=True, kw_only=True):
    """Changes from one loaded policy to another while the robot walks."""

    blend_steps: Annotated[int, msgspec.Meta(ge=1, le=50)] = 5
    """Control steps over which targets go from the last one of the old policy to the new one's own, and gains
    with them. In simulation 1 to 10 leave a walk as it is; with 20 it stumbles, with 40 it nearly falls."""


MIN_STANDBY_DEADLINE_PERIODS = 4.0
"""With less, the worker's ordinary jitter would be taken for silence."""


class Metrics(_Section, frozen=True, kw_only=True):
    """The Prometheus endpoint."""

    enabled: bool = True
    """false: no endpoint."""
    address: Name = "127.0.0.1"
    """An IP address, loopback unless told otherwise; or the path of a Unix socket, without a port."""
    port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 9468
    """TCP port; 0: no endpoint."""

    @property
    def wanted(self) -> bool:
        """Whether there is an endpoint."""
        return self.enabled and self.port != 0

    def __post_init__(self) -> None:
        """Refuse an address that is none. Raises ValueError."""
        if self.address.startswith("/"):
            check_socket_path(self.address)
            return
        try:
            ipaddress.ip_address(self.address)
        except ValueError:
            raise ValueError(
                f"address: {self.address!r} is neither an IP address nor the absolute path of a Unix socket"
            ) from None


class Recorder(_Section, frozen=True, kw_only=True):
    """The flight recorder: what happened around each damping, as an MCAP file."""

    enabled: bool = True
    """false: off without forgetting the directory."""
    directory: Name = ""
    """Where the files go, as in "/var/lib/gaitd/recordings"; empty: no recorder."""
    keep: Annotated[int, msgspec.Meta(ge=1, le=10000)] = 20
    """The newest so many files of faults stay, and as many of what somebody asked for. One of 60 s has about
    15 MB for 12 joints at 83 Hz."""
    window_s: Annotated[float, msgspec.Meta(ge=5, le=600)] = 60.0
    """How much is kept in memory, and so how long before the damping a file begins; less where it would take
    more than 48 MB."""
    after_s: Annotated[float, msgspec.Meta(ge=0, le=30)] = 3.0
    """How much after the damping is in the file."""
    continuous: bool = False
    """Write everything all the time, too, as gaitd-NNNNNN-shift.mcap: flash memory wears."""
    continuous_max_mb: Annotated[int, msgspec.Meta(ge=16, le=1_000_000)] = 2000
    """Of those files together; the oldest are removed. An hour at 83 Hz and 12 joints has 350 MB."""

    @property
    def wanted(self) -> bool:
        """There is something to do."""
        return self.enabled and self.directory != ""


class Config(_Section, frozen=True, kw_only=True):
    """All of gaitd.toml."""

    daemon: Daemon = msgspec.field(default_factory=Daemon)
    guard: Guard = msgspec.field(default_factory=Guard)
    realtime: Realtime = msgspec.field(default_factory=Realtime)
    metrics: Metrics = msgspec.field(default_factory=Metrics)
    recorder: Recorder = msgspec.field(default_factory=Recorder)
    network: Network = msgspec.field(default_factory=Network)
    standby: Standby = msgspec.field(default_factory=Standby)
    switch: Switch = msgspec.field(default_factory=Switch)

    def __post_init__(self) -> None:
        """Refuse one port for two things, and what a standby does not work with. Raises ValueError."""
        metrics, network = self.metrics, self.network
        ports = range(network.port, network.port + len(CHANNELS))
        shared = metrics.address in (network.address, "0.0.0.0", "::")
        if metrics.wanted and network.address and shared and metrics.port in ports:
            raise ValueError(
                f"metrics.port is {metrics.port}, and network.port {network.port} takes {ports[0]} to "
                f"{ports[-1]} of {network.address}; set metrics.port to another one"
            )
        clash = self.standby_clash() if self.standby.mode == "on" else ""
        if clash:
            raise ValueError(f'standby.mode is "on", and {clash}, or standby.mode to "off"')

    def standby_clash(self) -> str:
        """Which other keys a standby does not work with, and what to set; empty: none."""
        realtime, periods = self.realtime, self.guard.deadline_periods
        if periods < MIN_STANDBY_DEADLINE_PERIODS:
            return (
                f"guard.deadline_periods is {periods:g}: there is no time to change workers; set it to "
                f"{MIN_STANDBY_DEADLINE_PERIODS:g} or more"
            )
        if realtime.standby_priority >= realtime.worker_priority:
            return (
                f"realtime.standby_priority is {realtime.standby_priority} and realtime.worker_priority "
                f"{realtime.worker_priority}: the standby would make the worker late; set standby_priority "
                "below worker_priority"
            )
        return ""
