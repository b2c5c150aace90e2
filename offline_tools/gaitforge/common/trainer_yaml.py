"""YAML as trainers dump it from Python: the strict reader of the daemon, and three things more.

Aliases are followed, since PyYAML's dumper writes them for every list that stands in two places. Tuples and
slices, which are tagged with the Python code that would make them, are read as plain data. Nothing is run.
"""

from __future__ import annotations

from typing import Any

import yaml

from gaitd.bundle.untrusted import PlainLoader

MAX_NODES = 100_000
"""Of a document whose aliases are followed: a few kB of them can stand for gigabytes."""


class TrainerLoader(PlainLoader):
    """Reads ``!!python/tuple`` as a list and ``!!python/object/apply:builtins.slice`` as a slice."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Follow aliases."""
        return yaml.SafeLoader.compose_node(self, parent, index)

    def construct_document(self, node: yaml.Node) -> Any:
        """Make the value, unless aliases make it too large."""
        _check_size(node)
        return super().construct_document(node)


def _check_size(root: yaml.Node) -> None:
    """Count nodes, with what aliases repeat. Raises ConstructorError for too many or for endless ones."""
    count, open_nodes = 0, [(root, frozenset[int]())]
    while open_nodes:
        node, above = open_nodes.pop()
        count += 1
        problem = None
        if count > MAX_NODES:
            problem = f"more than {MAX_NODES} values, counting what aliases (*name) repeat"
        elif id(node) in above:
            problem = "an alias (*name) to something that holds the alias itself"
        if problem is not None:
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
        if isinstance(node, yaml.ScalarNode):
            continue
        within = above | {id(node)}
        for entry in node.value:
            parts = entry if isinstance(entry, tuple) else (entry,)
            open_nodes.extend((part, within) for part in parts)


def _construct_tuple(loader: TrainerLoader, node: yaml.SequenceNode) -> list[Any]:
    return loader.construct_sequence(node, deep=True)


def _construct_slice(loader: TrainerLoader, node: yaml.SequenceNode) -> slice:
    edges = loader.construct_sequence(node, deep=True)
    if len(edges) != 3 or not all(edge is None or type(edge) is int for edge in edges) or edges[2] == 0:
        raise yaml.constructor.ConstructorError(
            None, None, f"a slice of {edges}: expected start, stop, step", node.start_mark
        )
    return slice(*edges)


TrainerLoader.add_constructor("tag:yaml.org,2002:python/tuple", _construct_tuple)
TrainerLoader.add_constructor("tag:yaml.org,2002:python/object/apply:builtins.slice", _construct_slice)
