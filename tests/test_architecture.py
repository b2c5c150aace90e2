"""docs/architecture.md names what the code has: its packages, and the import layers that lint checks."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = (ROOT / "docs" / "architecture.md").read_text()
PARENTS = {"gaitd": "daemon", "gaitforge": "offline_tools"}
ROOTS = sorted(PARENTS)


@pytest.mark.parametrize("root", ROOTS)
def test_the_table_of_packages_names_every_one_that_there_is(root: str) -> None:
    folder = f"{PARENTS[root]}/{root}"
    section = re.split(r"\n\n(?!\|)", DOCUMENT.split(f"below `{folder}/`", 1)[1])
    table = next(part for part in section if "\n|---" in part)
    named = re.findall(r"^\| `(\w+)/` \|", table, re.MULTILINE)
    packages = [init.parent.name for init in (ROOT / folder).glob("*/__init__.py")]
    assert sorted(named) == sorted(packages)


@pytest.mark.parametrize("root", ROOTS)
def test_every_package_within_a_package_is_named(root: str) -> None:
    for init in (ROOT / PARENTS[root] / root).glob("*/*/__init__.py"):
        assert f"`{init.parent.parent.name}/{init.parent.name}/`" in DOCUMENT


@pytest.mark.parametrize("root", ROOTS)
def test_the_table_of_imports_has_the_layers_that_lint_checks(root: str) -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    checked = next(contract["layers"] for contract in contracts if contract.get("containers") == [root])
    row = re.search(rf"^\| {root} \| (.*) \|$", DOCUMENT, re.MULTILINE)
    assert row is not None
    told = [set(re.findall(r"`(\w+)`", layer)) for layer in row[1].split("→")]
    assert told == [set(re.findall(r"\w+", layer)) for layer in checked]
