"""A policy's contract as YAML, before a bundle lists its files in it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from gaitd.bundle.read import check_joints_and_models, decode_manifest
from gaitd.bundle.untrusted import YAML_FLOAT, YAML_FLOAT_STARTS
from gaitd.errors import InputError
from gaitd.policy.manifest import Manifest
from gaitd.policy.pipeline import PolicyPipeline
from gaitd.policy.terms import compile_term
from gaitforge.common import files


def load_manifest(path: Path) -> Manifest:
    """Read and decode a manifest. Raises InputError."""
    return checked_manifest(read_manifest(path), str(path))


def require_format_1(manifest: Manifest, where: str, tool: str) -> None:
    """Raise InputError where ``tool`` does not know what that manifest says."""
    if manifest.format != 1:
        raise InputError(
            f"{where}: format: {manifest.format}; {tool} is for format 1: position targets of all joints, "
            "and an observation in one piece (docs/robots.md)"
        )


def read_manifest(path: Path) -> dict[str, Any]:
    """Read a manifest's YAML as it stands, without ``files``. Raises InputError."""
    raw = files.read_yaml(path, "the manifest")
    raw.pop("files", None)
    return raw


def checked_manifest(raw: Mapping[str, Any], where: str) -> Manifest:
    """Decode a manifest that has no ``files`` yet, and hold it against itself as a bundle's is.

    Raises InputError that starts with ``where``.
    """
    try:
        data = dump_yaml({**raw, "files": {}})
    except yaml.representer.RepresenterError as error:  # a slice
        raise InputError(f"{where}: {error.args[1]!r} has no place in a manifest") from None
    manifest = decode_manifest(data, where)
    try:
        check_joints_and_models(manifest)
        PolicyPipeline(manifest, None)
        _check_endless(manifest)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    return manifest


def _check_endless(manifest: Manifest) -> None:
    """Raise InputError where the policy sees how far a joint without end has turned, but for a clip.

    No policy is trained on what grows for as long as it drives; trainers show 0 there.
    """
    for index, term in enumerate(manifest.observation.terms):
        if term.term not in ("joint_position", "joint_position_relative") or term.clip is not None:
            continue
        shown = manifest.moved_joints if term.joints is None else term.joints
        for joint, scale in zip(shown, compile_term(manifest, index, term).scale, strict=True):
            if joint in manifest.continuous_joints and scale != 0:
                raise InputError(
                    f"observation.terms[{index}]: joint {joint!r} turns without end: {term.term} grows "
                    "without bound; give it scale 0, or list the other joints under joints; if the policy "
                    "was trained to see it, give the term the clip that the trainer has"
                )


def dump_yaml(value: Any, *, short_lists: bool = False) -> bytes:
    """YAML that the daemon reads: without aliases, which it refuses.

    ``short_lists`` puts each list of plain values into one line.
    """
    text: str = yaml.dump(
        value,
        Dumper=_PlainDumper,
        sort_keys=False,
        allow_unicode=True,
        width=100,
        default_flow_style=None if short_lists else False,
    )
    return text.encode()


class _PlainDumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


_PlainDumper.add_implicit_resolver("tag:yaml.org,2002:float", YAML_FLOAT, YAML_FLOAT_STARTS)
