"""Turn proto/golden/vectors.json into lines that the C++ test reads without a JSON parser.

A line: name, kind, joints, hex, writer, refusal, then field=value for every field, separated by tabs.
"""

import json
import sys
from pathlib import Path

source, target = (Path(argument) for argument in sys.argv[1:])
lines = []
for vector in json.loads(source.read_text(encoding="utf-8")):
    fields = [f"{name}={value}" for name, value in vector.get("fields", {}).items()]
    parts = [vector[key] for key in ("name", "kind", "joints", "hex")]
    parts += [vector.get("writer", "none"), vector.get("refusal", "none"), *fields]
    lines.append("\t".join(str(part) for part in parts))
target.write_text("\n".join(lines) + "\n", encoding="utf-8")
