"""The policies on this robot: content-addressed directories, and which of them is active.

ROOT/policies/<bundle id>/    the bundle's files; a directory without manifest.yaml is no policy
ROOT/selection.json           ids of the active policy and of the one before; replaced as a whole
ROOT/lock                     held by whoever changes something (gaitd.bundle.store_change)
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec

from gaitd.bundle.read import MANIFEST, Bundle, open_bundle
from gaitd.bundle.untrusted import MAX_TEXT_BYTES
from gaitd.errors import InputError, error_of
from gaitd.system.plain_file import is_there, read_plain

DEFAULT_ROOT = Path("/var/lib/gaitd")
SHORT_ID = 16

LINKS = ("active", "previous")
"""Links below the root that stood for the selection in earlier releases."""

BUNDLE_ID = "[0-9a-f]{64}"
BundleId = Annotated[str, msgspec.Meta(pattern=f"^({BUNDLE_ID})?$")]


class Selection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Bundle ids of the active policy and of the one before it; empty where there is none."""

    active: BundleId = ""
    previous: BundleId = ""
    beside: list[BundleId] = []
    """Loaded with the active one, so that a session may change to them."""
    previous_beside: list[BundleId] = []


@dataclass(frozen=True, slots=True)
class StoredPolicy:
    """One policy in the store."""

    id: str
    """sha256 of manifest.yaml, 64 hex digits; also the name of its directory."""
    path: Path
    active: bool
    previous: bool
    beside: bool = False
    """It is loaded with the active one."""
    previous_beside: bool = False


class PolicyStore:
    """The store below a directory, for reading: it needs no rights and no lock."""

    def __init__(self, root: Path = DEFAULT_ROOT) -> None:
        self.root = root
        self.directory = root / "policies"
        self.selection_file = root / "selection.json"

    def selection(self) -> Selection:
        """What is active and what was before. Raises InputError when that cannot be read."""
        file = self.selection_file
        try:
            if not is_there(file):
                active, previous = (_linked(self.root / name) for name in LINKS)
                return Selection(active, previous)
            return msgspec.json.decode(read_plain(file, MAX_TEXT_BYTES), type=Selection)
        except OSError as error:
            raise error_of(error.errno, f"{file}: cannot be read: {error.strerror}") from None
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise InputError(
                f"{file}: damaged ({error}); delete it, then activate the policy that shall run"
            ) from None

    def policies(self) -> list[StoredPolicy]:
        """All policies, the longest-standing first; one that is selected but gone is among them."""
        selection = self.selection()
        found = self._installed()
        found.sort(key=lambda path: (_age(path), path.name))
        names = [path.name for path in found]
        selected = (selection.active, selection.previous, *selection.beside, *selection.previous_beside)
        names += [name for name in dict.fromkeys(selected) if name and name not in names]
        return [
            StoredPolicy(
                name,
                self.directory / name,
                name == selection.active,
                name == selection.previous,
                name in selection.beside,
                name in selection.previous_beside,
            )
            for name in names
        ]

    def _installed(self) -> list[Path]:
        try:
            found = list(self.directory.iterdir()) if is_there(self.directory) else []
            return [
                path for path in found if path.name[0] in "0123456789abcdef" and (path / MANIFEST).exists()
            ]
        except OSError as error:
            where = error.filename or self.directory
            raise error_of(error.errno, f"{where}: cannot be read: {error.strerror}") from None

    def find(self, wanted: str) -> StoredPolicy:
        """The policy whose id begins with ``wanted``. Raises InputError when none or several do."""
        found = [policy for policy in self.policies() if wanted and policy.id.startswith(wanted)]
        if len(found) != 1:
            ids = ", ".join(policy.id[:SHORT_ID] for policy in self.policies()) or "none"
            which = "several policies have" if found else "no policy has"
            raise InputError(f"{which} an id beginning with {wanted!r}; installed: {ids}")
        return found[0]

    def open(self, policy_id: str) -> Bundle:
        """A stored policy, verified down to its id. Raises InputError."""
        path = self.directory / policy_id
        bundle = open_bundle(path)
        if bundle.id != policy_id:
            raise InputError(
                f"{path / MANIFEST}: changed since it was installed (its sha256 is {bundle.policy_id}...); "
                "install the bundle again"
            )
        return bundle

    def open_active(self) -> Bundle:
        """The active policy, verified. Raises InputError when there is none."""
        active = self.selection().active
        if not active:
            raise InputError(f"{self.root}: no policy is active; sudo gaitctl install BUNDLE --activate")
        return self.open(active)

    def open_selected(self) -> list[Bundle]:
        """The active policy and those beside it, verified. Raises InputError when there is none."""
        return [self.open_active(), *map(self.open, self.selection().beside)]

    def rollback_target(self) -> list[StoredPolicy]:
        """The policies that rollback returns to, the active one first.

        Raises InputError when there are none.
        """
        selection = self.selection()
        before = [selection.previous, *selection.previous_beside]
        if before[0] == "" or before == [selection.active, *selection.beside]:
            raise InputError(f"{self.root}: there is no earlier policy to go back to; see gaitctl list")
        return [self.find(name) for name in before]


def _linked(link: Path) -> str:
    """The id that a store of an earlier release has as a link, or as a copy of it that followed links."""
    if link.is_symlink():
        name = link.readlink().name
    elif link.is_dir():
        try:
            name = hashlib.sha256(read_plain(link / MANIFEST, MAX_TEXT_BYTES)).hexdigest()
        except OSError as error:
            raise InputError(f"{link}: no copy of a policy: {error}; delete it") from None
    else:
        return ""
    if not re.fullmatch(BUNDLE_ID, name):
        raise InputError(f"{link}: a link to {name!r}, which is no installed policy; delete it")
    return name


def _age(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:  # removed in this moment
        return 0
