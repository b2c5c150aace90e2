"""The policies on this robot: content-addressed directories, and which of them is active.

    ROOT/policies/<bundle id>/    the bundle's files, never changed once there
    ROOT/active                   link to the policy that gaitd runs
    ROOT/previous                 link to the one before, for rollback

Every change is one rename of something already on the disk: after a power cut there is the old or the new.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from gaitd.bundle.read import Bundle, open_bundle
from gaitd.errors import InputError

DEFAULT_ROOT = Path("/var/lib/gaitd")
SHORT_ID = 16


@dataclass(frozen=True, slots=True)
class StoredPolicy:
    """One policy in the store."""

    id: str
    """sha256 of manifest.yaml, 64 hex digits; also the name of its directory."""
    path: Path
    active: bool
    previous: bool


@dataclass(frozen=True, slots=True)
class Links:
    """Ids that active and previous point to; empty where there is none."""

    active: str
    previous: str


class PolicyStore:
    """The store below a directory; reading needs no rights, changing needs those of its owner."""

    def __init__(self, root: Path = DEFAULT_ROOT) -> None:
        self.active = root / "active"
        self.previous = root / "previous"
        self._root = root
        self._policies = root / "policies"

    def policies(self) -> list[StoredPolicy]:
        """All policies, the longest-standing first."""
        links = self.links()
        found = [path for path in self._policies.glob("[0-9a-f]*") if path.is_dir()]
        found.sort(key=lambda path: (path.stat().st_mtime_ns, path.name))
        return [
            StoredPolicy(path.name, path, path.name == links.active, path.name == links.previous)
            for path in found
        ]

    def install(self, source: Path) -> Bundle:
        """Verify a bundle and copy it into the store, where it waits. Raises InputError.

        A copy that is there already is kept if it verifies, else replaced.
        """
        bundle = open_bundle(source)
        target = self._policies / bundle.id
        try:
            if target.is_dir():
                with contextlib.suppress(InputError):
                    return open_bundle(target)
                self._discard(target)
            self._policies.mkdir(mode=0o755, parents=True, exist_ok=True)
            self._write(bundle, target)
            return open_bundle(target)
        except OSError as error:
            raise self._refusal(error) from None

    def find(self, wanted: str) -> StoredPolicy:
        """The policy whose id begins with ``wanted``. Raises InputError when none or several do."""
        found = [policy for policy in self.policies() if wanted and policy.id.startswith(wanted)]
        if len(found) != 1:
            ids = ", ".join(policy.id[:SHORT_ID] for policy in self.policies()) or "none"
            which = "several policies have" if found else "no policy has"
            raise InputError(f"{which} an id beginning with {wanted!r}; installed: {ids}")
        return found[0]

    def activate(self, policy: StoredPolicy) -> None:
        """Make it the policy of the next start. Raises InputError when it does not verify."""
        open_bundle(policy.path)
        active = self.links().active
        if active != policy.id:
            self.restore(Links(policy.id, active))

    def links(self) -> Links:
        """What is active and what was before."""
        return Links(_linked(self.active), _linked(self.previous))

    def restore(self, links: Links) -> None:
        """Point both links at policies in the store. Raises InputError."""
        try:
            for link, policy_id in ((self.previous, links.previous), (self.active, links.active)):
                if policy_id:
                    self._link(link, policy_id)
                else:
                    link.unlink(missing_ok=True)
        except OSError as error:
            raise self._refusal(error) from None

    def rollback_target(self) -> StoredPolicy:
        """The policy that rollback returns to. Raises InputError when there is none."""
        links = self.links()
        if links.previous in ("", links.active):
            raise InputError(f"{self.previous}: there is no earlier policy to go back to; see gaitctl list")
        return self.find(links.previous)

    def remove(self, policy: StoredPolicy) -> None:
        """Delete one that is neither active nor previous. Raises InputError."""
        if policy.active or policy.previous:
            which = "active" if policy.active else "previous"
            raise InputError(f"policy {policy.id[:SHORT_ID]} is the {which} one; activate another first")
        try:
            self._discard(policy.path)
        except OSError as error:
            raise self._refusal(error) from None

    def _discard(self, path: Path) -> None:
        doomed = path.with_name(f".removed-{path.name}")
        path.rename(doomed)
        shutil.rmtree(doomed)

    def _write(self, bundle: Bundle, target: Path) -> None:
        scratch = Path(tempfile.mkdtemp(prefix=".new-", dir=self._policies))
        try:
            scratch.chmod(0o755)
            for name, data in bundle.files.items():
                with (scratch / name).open("wb") as file:
                    file.write(data)
                    file.flush()
                    os.fchmod(file.fileno(), 0o644)
                    os.fsync(file.fileno())
            _sync(scratch)
            scratch.rename(target)
            _sync(self._policies)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def _link(self, link: Path, policy_id: str) -> None:
        fresh = link.with_name(f".{link.name}.new")
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(Path(self._policies.name) / policy_id)
        fresh.replace(link)
        _sync(self._root)

    def _refusal(self, error: OSError) -> InputError:
        hint = "; run it with sudo" if isinstance(error, PermissionError) else ""
        return InputError(f"{error.filename or self._root}: {error.strerror}{hint}")


def _linked(link: Path) -> str:
    return link.readlink().name if link.is_symlink() else ""


def _sync(directory: Path) -> None:
    """Have the names in a directory on the disk."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
