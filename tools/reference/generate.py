"""Write docs/reference from the source: python tools/reference/generate.py

The output depends only on the source, on no machine.
"""

from __future__ import annotations

import ast
import inspect
import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import commands
import msgspec
import render
import settings

from gaitd import cli as gaitd_cli
from gaitd.ctl import cli as gaitctl_cli
from gaitd.policy import manifest
from gaitd.policy.sources import term_field, term_size
from gaitd.system.config import Config
from gaitd.system.config_files import load_config
from gaitforge import cli as gaitforge_cli
from gaitforge.checkpoint.config import ActorConfig
from gaitforge.train import config as training
from gaitforge.train import rewards
from gaitforge.verify.gate import Gate

REPOSITORY = Path(__file__).resolve().parents[2]
REFERENCE = REPOSITORY / "docs" / "reference"
NOTE = "<!-- Generated from the source by `make references`: do not edit. -->"
PARSERS = {
    "gaitd": gaitd_cli.make_parser,
    "gaitctl": gaitctl_cli.make_parser,
    "gaitforge": gaitforge_cli.make_parser,
}


def outputs() -> dict[Path, str]:
    """What every generated page must hold."""
    environment = render.environment()
    environment.filters["cell"] = cell
    environment.globals["note"] = NOTE
    pages: dict[str, dict[str, Any]] = {
        "config.md": {"sections": [*settings.sections(Config)][1:], "packaged": packaged()},
        "manifest.md": {"sections": [*settings.sections(manifest.Manifest)], "terms": [*terms()]},
        "training.md": {
            "files": {
                "train.yaml": [*settings.sections(training.Config)],
                "robot.yaml": [*settings.sections(training.RobotParameters)],
            },
            "rewards": [*reward_terms()],
        },
        "checking.md": {
            "files": {
                "gate.yaml": [*settings.sections(Gate)],
                "actor.yaml": [*settings.sections(ActorConfig)],
            }
        },
        "exit-codes.md": {"codes": [*commands.exit_codes()]},
    }
    texts = {name: environment.get_template(f"{name}.j2").render(values) for name, values in pages.items()}
    for name, make_parser in PARSERS.items():
        program = commands.read(make_parser())
        texts[f"{name}.md"] = environment.get_template("program.md.j2").render(program=program)
    return {REFERENCE / name: tidy(text) for name, text in texts.items()}


def tidy(text: str) -> str:
    """One empty line where a template has several."""
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def cell(text: str) -> str:
    """Text that stays within a cell of a table, reST's and Markdown's code alike."""
    return re.sub(r"``(.+?)``", r"`\1`", text).replace("|", "\\|")


def packaged() -> dict[tuple[str, str], str]:
    """Where the package's gaitd.toml differs from the defaults, by section and key."""
    package = msgspec.to_builtins(load_config(REPOSITORY / "packaging" / "robot.toml"))
    default = msgspec.to_builtins(Config())
    return {
        (section, key): f"`{msgspec.json.encode(value).decode()}`"
        for section, keys in package.items()
        for key, value in keys.items()
        if value != default[section][key]
    }


def terms() -> Iterator[dict[str, str]]:
    """The observation's terms. Raises ValueError for one that nothing is said of."""
    said = dict(
        re.findall(r"^(\w+): (.+)$", string_after(manifest, "TermName"), re.MULTILINE),
    )
    for name in get_args(manifest.TermName):
        if name not in said:
            raise ValueError(f"the text under TermName in {manifest.__file__} does not say what {name} is")
        unit, _, meaning = said[name].partition(". ")
        many, few = term_size(name, 12), term_size(name, 5)
        size = "as declared" if many is None else str(many) if many == few else "one for each joint"
        yield {
            "name": name,
            "size": size,
            "field": term_field(name) or "",
            "unit": unit.removesuffix("1"),
            "meaning": meaning,
        }


def string_after(module: Any, name: str) -> str:
    """The string under a module's assignment."""
    body = ast.parse(inspect.getsource(module)).body
    for node, text in itertools.pairwise(body):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == name:
            assert isinstance(text, ast.Expr)
            assert isinstance(text.value, ast.Constant)
            return inspect.cleandoc(str(text.value.value))
    raise ValueError(f"{module.__file__} has no {name}")


def reward_terms() -> Iterator[dict[str, str]]:
    """What a training may pay for."""
    for name, function in rewards.TERMS.items():
        meaning = " ".join(inspect.cleandoc(function.__doc__ or "").split())
        clock = "yes" if name in rewards.CLOCKED else ""
        yield {
            "name": name,
            "unit": rewards.UNITS[name].removesuffix("1"),
            "clock": clock,
            "meaning": meaning,
        }


def main() -> None:
    """Write the pages."""
    REFERENCE.mkdir(parents=True, exist_ok=True)
    for path, text in outputs().items():
        path.write_text(text, encoding="utf-8")
        print(path.relative_to(REPOSITORY))


if __name__ == "__main__":
    main()
