"""Changes of the policy store: one at a time, each the old or the new whenever it is interrupted.

A file gets its place by a rename of something that is on the disk already. A policy is there when its
manifest.yaml is, which comes last and goes first. Directories are never renamed: overlayfs refuses that.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from gaitd.bundle.read import MANIFEST, Bundle, open_bundle
from gaitd.bundle.store import BUNDLE_ID, LINKS, SHORT_ID, PolicyStore, Selection
from gaitd.errors import InputError, error_of
from gaitd.system.plain_file import is_there

LOCK_WAIT_S = 10.0
"""How long one gaitctl waits for another; a change of policy with its restart may take longer."""
_RETRY_S = 0.05


@contextlib.contextmanager
def change_store(store: PolicyStore) -> Iterator[StoreChange]:
    """Lock the store and clear away what an interrupted change left. Raises InputError."""
    umask = os.umask(0o022)  # gaitd reads it as another user
    try:
        _make_directory(store.root)
        _make_directory(store.directory)
        lock = os.open(store.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            _acquire(lock, store.root)
            change = StoreChange(store)
            change.sweep()
            yield change
        finally:
            os.close(lock)
    except OSError as error:
        hint = "; run it with sudo" if isinstance(error, PermissionError) else ""
        raise error_of(error.errno, f"{error.filename or store.root}: {error.strerror}{hint}") from None
    finally:
        os.umask(umask)


class StoreChange:
    """What may be done while the store is locked. Methods let OSError through to ``change_store``."""

    def __init__(self, store: PolicyStore) -> None:
        self._store = store
        self._fresh = store.root / ".fresh"
        """The file that is being written; it gets its own name when it is whole."""
        self.notes: list[str] = []
        """What was put right, for people."""

    def install(self, bundle: Bundle) -> None:
        """Copy a verified bundle into the store, where it waits. Raises InputError.

        A copy that is there already is kept if it verifies, else its files are written anew.
        """
        with contextlib.suppress(InputError):
            self._store.open(bundle.id)
            return
        target = self._store.directory / bundle.id
        _make_directory(target)
        for entry in target.iterdir():
            if entry.name not in bundle.files:
                _delete(entry)
        for name in sorted(bundle.files, key=lambda name: name == MANIFEST):
            self._put(target / name, bundle.files[name])
        _sync(self._store.directory)
        self._store.open(bundle.id)

    def activate(self, policy_id: str, *beside: str) -> None:
        """Make it the policy of the next start, with those ``beside`` it.

        Raises InputError when one does not verify.
        """
        for each in (policy_id, *beside):
            self._store.open(each)
        before = self._store.selection()
        if (before.active, before.beside) != (policy_id, list(beside)):
            self.select(Selection(policy_id, before.active, list(beside), before.beside))

    def select(self, selection: Selection) -> None:
        """Replace the selection as a whole. What is empty beside the two is not written: earlier releases
        do not know it."""
        values = msgspec.to_builtins(selection)
        kept = {name: value for name, value in values.items() if value != []}
        self._put(self._store.selection_file, msgspec.json.encode(kept) + b"\n")

    def remove(self, wanted: str) -> str:
        """Delete the policy whose id begins with ``wanted``; returns its id.

        Raises InputError when it is the active or the previous one, or beside one of them.
        """
        policy = self._store.find(wanted)
        if policy.beside or policy.previous_beside:
            which = "active" if policy.beside else "previous"
            raise InputError(
                f"policy {policy.id[:SHORT_ID]} is beside the {which} one; activate others first"
            )
        if policy.active or policy.previous:
            which = "active" if policy.active else "previous"
            raise InputError(f"policy {policy.id[:SHORT_ID]} is the {which} one; activate another first")
        self._discard(policy.path)
        return policy.id

    def sweep(self) -> None:
        """Clear away what an interrupted change left, and take over the links of an earlier release."""
        for name in (".fresh", ".active.new", ".previous.new"):
            (self._store.root / name).unlink(missing_ok=True)
        for entry in self._store.directory.iterdir():
            half = re.fullmatch(BUNDLE_ID, entry.name) and not is_there(entry / MANIFEST)
            if half or entry.name.startswith((".new-", ".removed-")):
                _delete(entry)
        links = [self._store.root / name for name in LINKS]
        links = [link for link in links if link.is_symlink() or link.exists()]
        if links and not is_there(self._store.selection_file):
            self.select(self._store.selection())
        for link in links:
            if link.is_dir() and not link.is_symlink():
                self.install(open_bundle(link))
                self.notes.append(f"{link}: was a directory, not a link; its policy is in the store")
            _delete(link)

    def _discard(self, directory: Path) -> None:
        (directory / MANIFEST).unlink()
        _sync(directory)
        shutil.rmtree(directory)
        _sync(self._store.directory)

    def _put(self, path: Path, data: bytes) -> None:
        """Give a file its content: all of it or none."""
        self._fresh.unlink(missing_ok=True)  # of a change that failed
        with self._fresh.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        self._fresh.replace(path)
        _sync(path.parent)


def _acquire(lock: int, root: Path) -> None:
    until_s = time.monotonic() + LOCK_WAIT_S
    while True:
        try:
            return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until_s:
                raise InputError(f"{root}: another gaitctl is changing it; try again in a minute") from None
        time.sleep(_RETRY_S)


def _make_directory(path: Path) -> None:
    if not path.is_dir():
        path.mkdir(parents=True)
        _sync(path.parent)


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def _sync(directory: Path) -> None:
    """Have the names in a directory on the disk."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
