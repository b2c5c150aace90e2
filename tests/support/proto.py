"""Of proto/, which is no package: the contract as its generator reads it, the golden vectors' encoder."""

from __future__ import annotations

from pathlib import Path

from support.scripts import load

PROTO = Path(__file__).parents[2] / "proto"

generator = load(PROTO / "generate.py")
CONTRACT = generator.load()
HELLO_REPLY_KEYS = [key.key for key in CONTRACT.hello_reply]
encode_raw_observation = load(PROTO / "golden" / "generate.py").encode_raw_observation
