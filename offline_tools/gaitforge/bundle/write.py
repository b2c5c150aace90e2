"""Writes policy bundles: verified before they take their place, whole or not at all."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gaitd.bundle.read import KNOWN_FILES, MANIFEST, SUFFIX, is_known, open_bundle
from gaitd.bundle.untrusted import MAX_BUNDLE_BYTES
from gaitd.errors import InputError
from gaitd.system.plain_file import read_plain
from gaitforge.common.manifest import dump_yaml


def write_bundle(target: Path, manifest: Mapping[str, Any], files: Mapping[str, Path | bytes]) -> Path:
    """Write a bundle and return its path: a zip when ``target`` ends in .gaitd, else a directory.

    ``manifest`` is written without its ``files``, which this fills in. The result is verified as
    ``open_bundle`` does before it takes its place; a failure leaves whatever was there before.
    Raises InputError.
    """
    contents = {
        name: source if isinstance(source, bytes) else read_plain(source, MAX_BUNDLE_BYTES)
        for name, source in files.items()
    }
    hashes = {name: hashlib.sha256(data).hexdigest() for name, data in sorted(contents.items())}
    contents[MANIFEST] = dump_yaml({**manifest, "files": hashes})
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        new = scratch / f"new{SUFFIX if target.suffix == SUFFIX else ''}"
        if target.suffix == SUFFIX:
            _write_zip(new, contents)
        else:
            new.mkdir()
            for name, data in contents.items():
                (new / name).write_bytes(data)
        try:
            open_bundle(new)
        except InputError as error:
            raise InputError(str(error).replace(str(new), str(target))) from None
        _take_place(new, target, scratch / "old")
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return target


def _take_place(new: Path, target: Path, aside: Path) -> None:
    """Put ``new`` at ``target``; a directory that is there goes aside, and back if that fails."""
    if not target.is_dir():
        new.replace(target)
        return
    target.rename(aside)
    try:
        new.replace(target)
    except BaseException:
        aside.rename(target)
        raise


def _write_zip(path: Path, contents: Mapping[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        known = [name for name in KNOWN_FILES if name in contents]
        for name in known + sorted(contents.keys() - set(known)):
            if not is_known(name):
                raise InputError(f"{path}: a bundle holds no file named {name!r}")
            # A fixed date: the same content is the same file.
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), contents[name])
