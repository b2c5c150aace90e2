"""What a process can do here, tried for real: one JSON object, each entry true when it succeeded."""

import ctypes
import errno
import json
import mmap
import os
import socket
from collections.abc import Callable
from pathlib import Path

CLONE_NEWUSER = 0x10000000


def tried(action: Callable[[], object]) -> bool:
    try:
        action()
    except OSError:
        return False
    return True


def driver_is_reached(node: str) -> bool:
    """Whether the device policy lets an open through to the driver (there is none: ENODEV, not EPERM)."""
    try:
        os.close(os.open(node, os.O_RDWR))
    except OSError as error:
        return error.errno in (errno.ENODEV, errno.ENXIO)
    return True


def call(function: str, *arguments: object) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc[function](*arguments) != 0:
        raise OSError(ctypes.get_errno(), function)


def write(path: str, text: str = "x") -> None:
    Path(path).write_text(text)


attempts: dict[str, Callable[[], object]] = {
    "write /opt/gaitd": lambda: write("/opt/gaitd/probe"),
    "write /usr": lambda: write("/usr/probe"),
    "write a policy": lambda: write("/var/lib/gaitd/policies/probe"),
    "write /etc/gaitd": lambda: write("/etc/gaitd/probe"),
    "write a recording": lambda: write("/var/lib/gaitd/recordings/probe"),
    "write a log": lambda: write("/var/log/gaitd/probe"),
    "read /root": lambda: list(Path("/root").iterdir()),
    "IPv4 socket": lambda: socket.socket(socket.AF_INET).close(),
    "netlink socket": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW).close(),
    "Unix socket": lambda: socket.socket(socket.AF_UNIX).close(),
    "writable code": lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC),
    "change the host name": lambda: socket.sethostname(socket.gethostname()),
    "set a kernel tunable": lambda: write("/proc/sys/net/core/somaxconn", "4096"),
    "mount": lambda: call("mount", b"x", b"/mnt", b"tmpfs", 0, None),
    "see foreign processes": lambda: Path("/proc/1/status").stat(),
    "new user namespace": lambda: call("unshare", CLONE_NEWUSER),  # last: it changes what the rest may do
}
print(
    json.dumps(
        {name: tried(attempt) for name, attempt in attempts.items()}
        | {
            "NPU node": driver_is_reached("/dev/rknpu"),
            "foreign device": driver_is_reached("/dev/foreign"),
            "network interfaces": len(socket.if_nameindex()) if tried(lambda: socket.if_nameindex()) else 0,
            "capabilities": any(
                int(line.split()[1], 16)
                for line in Path("/proc/self/status").read_text().splitlines()
                if line.startswith(("CapEff", "CapPrm", "CapAmb", "CapBnd"))
            ),
        }
    )
)
