"""A policy's contract as YAML, before a bundle lists its files in it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from gaitd.bundle.read import decode_manifest
from gaitd.policy.contract import Manifest
from gaitforge.common import files


def load_manifest(path: Path) -> Manifest:
    """Read and decode a manifest. Raises InputError."""
    return checked_manifest(read_manifest(path), str(path))


def read_manifest(path: Path) -> dict[str, Any]:
    """Read a manifest's YAML as it stands, without ``files``. Raises InputError."""
    raw = files.read_yaml(path, "the manifest")
    raw.pop("files", None)
    return raw


def checked_manifest(raw: Mapping[str, Any], where: str) -> Manifest:
    """Decode a manifest that has no ``files`` yet. Raises InputError that starts with ``where``."""
    return decode_manifest(dump_yaml({**raw, "files": {}}), where)


def dump_yaml(value: Mapping[str, Any]) -> bytes:
    """YAML that the daemon reads: without aliases, which it refuses."""
    text: str = yaml.dump(value, Dumper=_PlainDumper, sort_keys=False, allow_unicode=True, width=100)
    return text.encode()


class _PlainDumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True
