"""Every key of a trainer's file is taken, is without meaning for a manifest, or stops the import."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from gaitd.errors import InputError


class Section:
    """A mapping of a file that knows which of its keys were looked at."""

    def __init__(self, raw: object, account: Account, path: str) -> None:
        """Raises InputError unless ``raw`` is a mapping."""
        if not isinstance(raw, Mapping):
            raise InputError(f"{account.where}: {path or 'the file'}: expected keys and values, got {raw!r}")
        self._raw = raw
        self._account = account
        self._path = path
        self._seen: set[str] = set()
        self._inner: dict[str, Section] = {}
        account.sections.append(self)

    def name(self, key: str) -> str:
        """The full path of a key, for messages that begin with the file."""
        return f"{self._account.where}: {self.path(key)}"

    def path(self, key: str) -> str:
        """The full path of a key, as ``--ignore`` takes it."""
        return f"{self._path}.{key}" if self._path else key

    def items(self, key: str) -> list[Any]:
        """Take a key that holds a list; a missing one is empty. Raises InputError."""
        value = self.get(key, [])
        if not isinstance(value, list):
            raise InputError(f"{self.name(key)}: expected a list, got {value!r}")
        return value

    def entries(self, key: str) -> list[Section]:
        """Take a key that holds a list of mappings, each with a name. Raises InputError."""
        sections = []
        for index, raw in enumerate(self.items(key)):
            name = raw.get("name", index) if isinstance(raw, Mapping) else index
            sections.append(Section(raw, self._account, f"{self.path(key)}[{name}]"))
        return sections

    def texts(self, key: str) -> list[str]:
        """Take a key that holds a list of names. Raises InputError when it is missing or empty."""
        values = self.items(key) if self.take(key) is not None else []
        if not values or not all(isinstance(value, str) for value in values):
            raise InputError(f"{self.name(key)}: expected a list of names, got {values!r}")
        return values

    def names(self) -> list[str]:
        """All keys, in the file's order."""
        return list(self._raw)

    def get(self, key: str, default: Any = None) -> Any:
        """Take a key that may be missing or null."""
        self._seen.add(key)
        value = self._raw.get(key)
        return default if value is None else value

    def take(self, key: str) -> Any:
        """Take a key. Raises InputError when it is missing."""
        value = self.get(key)
        if value is None:
            raise InputError(
                f"{self.name(key)} is missing; is it a file of this kind? For one of no kind in "
                "`gaitforge import --help`, write the manifest by hand (docs/quickstart/policy.md, section 2)"
            )
        return value

    def section(self, key: str) -> Section:
        """Take a key that holds a mapping; a missing one is empty."""
        if key not in self._inner:
            self._inner[key] = Section(self.get(key, {}), self._account, self.path(key))
        return self._inner[key]

    def skip(self, meaningless: Mapping[str, str]) -> None:
        """Pass over keys, given with the reason why they mean nothing to a manifest."""
        self._seen |= meaningless.keys()

    def left(self) -> list[str]:
        """Paths of the keys that nobody looked at; a null says nothing."""
        return [self.path(key) for key in self._raw if key not in self._seen and self._raw[key] is not None]


class Account:
    """What became of the keys of one or more files that belong together."""

    def __init__(self, where: str, ignored: Collection[str]) -> None:
        """``ignored`` are paths that a person wants passed over."""
        self.where = where
        self.sections: list[Section] = []
        self._ignored = set(ignored)

    def open(self, raw: object) -> Section:
        """The file's top."""
        return Section(raw, self, "")

    def finish(self) -> list[str]:
        """The ignored paths. Raises InputError for a key that is not taken, meaningless or ignored."""
        left = [path for section in self.sections for path in section.left()]
        unknown = [path for path in left if path not in self._ignored]
        if unknown:
            raise InputError(
                f"{self.where}: not understood: {', '.join(unknown)}. If it changes neither what the policy "
                f"sees nor what it does, say --ignore {' '.join(unknown)}"
            )
        for path in sorted(self._ignored - set(left)):
            raise InputError(f"--ignore {path}: {self.where} has no such key, or it is understood")
        return sorted(self._ignored)
