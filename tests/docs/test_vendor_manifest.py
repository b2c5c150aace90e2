"""The M20's manifest on the page is the one that its published policy drives with."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest
import yaml

from gaitd.bundle.read import fallback_damping
from gaitd.policy.action import ActionMapper
from gaitd.policy.bounds import TargetBounds
from gaitd.policy.manifest import Manifest
from gaitd.policy.terms import compile_terms
from gaitforge.common.manifest import checked_manifest
from support.wheels import m20_manifest

FENCE = r"```yaml title=\"manifest.yaml of the M20\"\n(.*?)```"
DOCS = Path(__file__).parents[2] / "docs"


def compiled(manifest: Manifest) -> object:
    """What a contract comes to, however its values are written."""
    mapper, terms = ActionMapper(manifest), compile_terms(manifest)
    bounds = TargetBounds.of(manifest, mapper)
    arrays = {
        "action": (mapper.scale, mapper.offset, mapper.stiffness, mapper.damping),
        "terms": (terms.gather, terms.scale, terms.offset),
        "limits": (bounds.low, bounds.high, bounds.torque.reach),
        "damping": (fallback_damping(manifest),),
    }
    plain = ("joints", "continuous_joints", "control_period_s", "velocity_command", "brake", "model")
    rest = {key: msgspec.to_builtins(getattr(manifest, key)) for key in plain}
    return rest, {name: [array.tolist() for array in values] for name, values in arrays.items()}


@pytest.mark.parametrize("page", ["vendor-robots.md", "vendor-robots.zh-CN.md"])
def test_the_m20s_manifest_is_complete(page: str) -> None:
    (text,) = re.findall(FENCE, (DOCS / page).read_text("utf-8"), re.DOTALL)
    shown = checked_manifest(yaml.safe_load(text), page)
    assert compiled(shown) == compiled(checked_manifest(m20_manifest(), "support"))
