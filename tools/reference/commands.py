"""A program's commands and options, read from its argparse parser, and what it may end with."""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gaitd import errors


@dataclass(frozen=True)
class Option:
    """An option, or a positional argument."""

    names: tuple[str, ...]
    """Of an option, as ``--json``; of an argument its one name in capitals."""
    value: str
    """What stands behind an option's name; empty for a switch and for an argument."""
    meaning: str
    required: bool

    @property
    def text(self) -> str:
        """As it is written on a command line."""
        return f"{', '.join(self.names)} {self.value}".rstrip()


@dataclass(frozen=True)
class Command:
    """A command, or the program itself, whose ``name`` is the program's."""

    name: str
    """With the program's: ``gaitctl status``."""
    purpose: str
    """In a few words."""
    description: str
    arguments: tuple[Option, ...]
    options: tuple[Option, ...]
    commands: tuple[Command, ...]

    @property
    def synopsis(self) -> str:
        """How it is called, options that may be left out in one word."""
        parts = [self.name]
        parts += [option.text for option in self.options if option.required]
        if any(not option.required for option in self.options):
            parts.append("[OPTION...]")
        parts += [a.text if a.required else f"[{a.text}]" for a in self.arguments]
        return " ".join([*parts, *(["COMMAND"] if self.commands else [])])


def read(parser: argparse.ArgumentParser, purpose: str = "") -> Command:
    """All that a parser knows, whatever machine this is and however wide its terminal."""
    actions = [action for action in parser._actions if action.help != argparse.SUPPRESS]
    below = [action for action in actions if isinstance(action, argparse._SubParsersAction)]
    formatter = parser._get_formatter()
    options = [_option(a, formatter) for a in actions if a not in below and a.dest != "help"]
    return Command(
        name=parser.prog,
        purpose=purpose or _words(parser.description or ""),
        description=parser.description or "",
        arguments=tuple(option for option in options if not option.names[0].startswith("-")),
        options=tuple(option for option in options if option.names[0].startswith("-")),
        commands=tuple(command for action in below for command in _commands(action)),
    )


def exit_codes() -> Iterator[tuple[int, str]]:
    """Each code and what it means."""
    kinds: list[type[errors.GaitdError]] = [errors.GaitdError, *errors.GaitdError.__subclasses__()]
    for kind in sorted(kinds, key=lambda kind: kind.exit_code):
        yield kind.exit_code, " ".join(inspect.cleandoc(kind.__doc__ or "").split())


def _commands(action: argparse._SubParsersAction[argparse.ArgumentParser]) -> Iterator[Command]:
    for choice in action._choices_actions:
        yield read(action.choices[choice.dest], choice.help or "")


def _option(action: argparse.Action, formatter: argparse.HelpFormatter) -> Option:
    meaning = _words(formatter._expand_help(action)) if action.help else ""
    if action.nargs != 0 and "default:" not in meaning and _says_something(action.default):
        meaning = f"{meaning} (default: {action.default})".strip()
    if action.option_strings:
        value = formatter._format_args(action, _placeholder(action)) if action.nargs != 0 else ""
        return Option(tuple(action.option_strings), value, meaning, action.required)
    if action.choices is not None:
        meaning = f"{meaning}: {', '.join(map(str, action.choices))}"
    several = " ..." if action.nargs in ("*", "+") else ""
    return Option((_placeholder(action) + several,), "", meaning, action.nargs not in ("?", "*"))


def _placeholder(action: argparse.Action) -> str:
    if isinstance(action.metavar, str):
        return action.metavar
    if action.choices is not None and action.option_strings:
        return "{" + ",".join(map(str, action.choices)) + "}"
    return action.dest.upper()


def _says_something(default: object) -> bool:
    return isinstance(default, (str, int, float, Path)) and default not in (argparse.SUPPRESS, "")


def _words(text: str) -> str:
    return " ".join(text.split())
