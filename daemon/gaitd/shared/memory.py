"""Memory files: each is written by one process and mapped read-only by the others.

A memory file has no name that anybody could delete, and is sealed against shrinking, which would kill whoever
touches it next. A process that may only read gets a read-only descriptor: a stray write there is SIGSEGV.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import mmap
import os
import zlib
from collections.abc import Mapping

from gaitd.errors import ReplacedError

HEAD_BYTES = 64
_MAGIC = 0x6761697464303032
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW
_SHARED_MEMORY_DIR = "/dev/shm"
_SEAL_FUTURE_WRITE = 0x0010
"""F_SEAL_FUTURE_WRITE (linux/fcntl.h, Linux 5.1): no new writable mapping. Python names it from 3.15 on."""


class Words:
    """Named 8-byte words, read and written whole."""

    __slots__ = ("_rows",)

    def __init__(self, memory: memoryview, layout: Mapping[str, int]) -> None:
        cells = memory.cast("Q")
        self._rows: dict[str, memoryview[int]] = {}
        start = 0
        for name, count in layout.items():
            self._rows[name] = cells[start : start + count]
            start += count

    def __getitem__(self, name: str) -> int:
        return self._rows[name][0]

    def __setitem__(self, name: str, value: int) -> None:
        self._rows[name][0] = value

    def row(self, name: str) -> memoryview[int]:
        """The words of a name that has several."""
        return self._rows[name]


def create_memory(name: str, size: int, head: bytes) -> int:
    """Make a memory file, zero but for its head, which nobody changes any more; returns its descriptor.

    Raises OSError.
    """
    fd = _open_memory(name)
    try:
        os.fchmod(fd, 0o600)  # whoever else gets a read-only descriptor cannot open it once more for writing
        os.posix_fallocate(fd, 0, size)  # a page for which there is no room later kills who touches it
        os.pwrite(fd, head, 0)
        with contextlib.suppress(PermissionError):  # what a kernel without memfd gives cannot be sealed
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
    except OSError:
        os.close(fd)
        raise
    return fd


def _open_memory(name: str) -> int:
    """A memfd; where the kernel or a filter of system calls refuses it, a file without a name."""
    try:
        return os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.EPERM, errno.EACCES):
            raise
        return os.open(_SHARED_MEMORY_DIR, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)


def forbid_new_writers(fd: int) -> None:
    """Nobody maps the file writable from now on; mappings that are there stay as they are."""
    try:
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEAL_FUTURE_WRITE)
    except OSError:
        return  # a kernel before 5.1: the read-only descriptors that the other processes get must do


def read_only(fd: int) -> int:
    """A descriptor of the same file through which it can only be read."""
    return os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC)


def read_all(fd: int) -> bytes:
    """All of a file's bytes."""
    return os.pread(fd, os.fstat(fd).st_size, 0)


def map_memory(fd: int, *, writable: bool) -> memoryview:
    """Map the whole file. For its writer every page is there at once: none is faulted in on the hot path."""
    access, flags = mmap.PROT_READ, mmap.MAP_SHARED
    if writable:
        access, flags = access | mmap.PROT_WRITE, flags | mmap.MAP_POPULATE
    return memoryview(mmap.mmap(fd, os.fstat(fd).st_size, flags=flags, prot=access))


def make_head(layout: str, *sizes: int) -> bytes:
    """What a memory file begins with. ``layout`` describes all that lies behind it, but for these sizes."""
    words = (_MAGIC, zlib.crc32(layout.encode()), *sizes)
    return b"".join(word.to_bytes(8, "little") for word in words)


def read_head(fd: int, layout: str, count: int = 1) -> tuple[int, ...]:
    """The ``count`` sizes that the file was made for. Raises ReplacedError when its layout is another one.

    That is so after an upgrade under a running gaitd: a process that starts then must not read old memory.
    """
    head = os.pread(fd, 16 + 8 * count, 0)
    sizes = tuple(int.from_bytes(head[at : at + 8], "little") for at in range(16, len(head), 8))
    if head != make_head(layout, *sizes) or len(sizes) != count:
        raise ReplacedError(
            f"file descriptor {fd} holds no memory of this version of gaitd, which was replaced while it "
            "ran; restart gaitd"
        )
    return sizes


def aligned(size: int) -> int:
    """The next multiple of a cache line."""
    return -(-size // 64) * 64
