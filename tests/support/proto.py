"""Of proto/, which is no package: the contract as its generator reads it, the golden vectors' encoder."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

PROTO = Path(__file__).parents[2] / "proto"


def _load(path: Path) -> ModuleType:
    name = f"proto_{path.parent.name}_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(path.parent)
        spec.loader.exec_module(module)
    return module


generator = _load(PROTO / "generate.py")
CONTRACT = generator.load()
HELLO_REPLY_KEYS = [key.key for key in CONTRACT.hello_reply]
encode_raw_observation = _load(PROTO / "golden" / "generate.py").encode_raw_observation
