"""The C++ client's decoder and safety logic, called from Python with a made-up time."""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path

from gaitd.wire.generated import Mode

HERE = Path(__file__).parent
INCLUDE = HERE.parents[1] / "proto" / "cpp" / "include"


def build(directory: Path) -> ctypes.CDLL:
    """Compile it there; takes about two seconds."""
    library = directory / "client_latch.so"
    command = ["c++", "-std=c++17", "-shared", "-fPIC", f"-I{INCLUDE}", str(HERE / "client_latch.cpp")]
    subprocess.run([*command, "-o", str(library)], check=True)
    return declare(ctypes.CDLL(str(library)))


def declare(library: ctypes.CDLL) -> ctypes.CDLL:
    size, number, byte, pointer = ctypes.c_size_t, ctypes.c_uint64, ctypes.c_uint8, ctypes.c_void_p
    library.latch_new.argtypes, library.latch_new.restype = [size, number, number], pointer
    library.latch_free.argtypes = library.latch_end.argtypes = library.latch_mode.argtypes = [pointer]
    library.latch_begin.argtypes = [pointer, number, number, byte]
    library.latch_published.argtypes = [pointer, number]
    library.latch_offer.argtypes = [pointer, ctypes.c_char_p, size, size, number]
    library.refusal_name.restype = ctypes.c_char_p
    return library


class ClientLatch:
    """One client in a session."""

    def __init__(self, library: ctypes.CDLL, joints: int, deadline_ns: int, first_command_ns: int) -> None:
        self._library = library
        self._joints = joints
        self._latch = library.latch_new(joints, deadline_ns, first_command_ns)

    def __del__(self) -> None:
        self._library.latch_free(self._latch)

    def begin(self, session: int, epoch: int, slot: int) -> None:
        self._library.latch_begin(self._latch, session, epoch, slot)

    def end(self) -> None:
        self._library.latch_end(self._latch)

    def published(self, stamp_ns: int) -> None:
        """One more state of the session; it is numbered from 1 on."""
        self._library.latch_published(self._latch, stamp_ns)

    def offer(self, command: bytes, now_ns: int) -> str:
        """Why a received command is not applied; "none" when it is."""
        refusal = self._library.latch_offer(self._latch, command, len(command), self._joints, now_ns)
        name: bytes = self._library.refusal_name(refusal)
        return name.decode()

    @property
    def mode(self) -> Mode:
        return Mode(self._library.latch_mode(self._latch))
