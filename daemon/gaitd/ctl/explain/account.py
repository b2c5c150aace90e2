"""The whole explanation as data, and as text."""

from __future__ import annotations

import datetime
import re
import string
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gaitd.ctl.explain.facts import Facts
from gaitd.ctl.explain.observations import Observation, observe
from gaitd.ctl.explain.verdict import Verdict, judge
from gaitd.ctl.explain.words.account import HEADINGS, OBSERVATIONS
from gaitd.ctl.explain.words.kinds import CAUSE_FAMILIES, FAMILIES, KINDS
from gaitd.ctl.explain.words.text import Language, Text
from gaitd.telemetry.files import LOST
from gaitd.telemetry.recording import Recording

_OPTIONAL_PART = re.compile(r"\[(.*?)\]")


@dataclass(frozen=True)
class Account:
    """Why one recording was made."""

    path: Path
    facts: Facts
    verdict: Verdict
    observations: list[Observation]

    @classmethod
    def of(cls, path: Path, recording: Recording) -> Account:
        """Look at a recording."""
        facts = Facts(recording)
        return cls(path, facts, judge(facts), observe(facts))

    @property
    def exit_code(self) -> int:
        """By the verdict's family."""
        return FAMILIES[self.family]

    @property
    def family(self) -> str:
        """A key of gaitd.ctl.explain.words.kinds.FAMILIES."""
        family = KINDS[self.verdict.kind].family
        return CAUSE_FAMILIES.get(self.verdict.reason, family) if family == "unknown" else family

    def what(self, language: Language) -> str:
        """What tripped, and whether the robot walked on."""
        text = fill(KINDS[self.verdict.kind].what, language, self.verdict.values)
        return text if self.facts.failover is None else f"{text} {_word('walked_on', language)}"

    def then(self, language: Language) -> str:
        """What to do next."""
        if self.verdict.kind == "no_damping" and self.observations:
            return _word("look", language)
        npu = {"npu": "NPU"} if self.facts.on_npu else {}
        group = {} if self.facts.sent.any() else {"group": "gaitd"}  # who has walked may connect
        return fill(KINDS[self.verdict.kind].then, language, {**self.verdict.values, **npu, **group})

    def led(self, language: Language) -> list[str]:
        """What led to it."""
        return [fill(OBSERVATIONS[each.kind], language, _in(language, each)) for each in self.observations]

    def history(self, language: Language) -> list[str]:
        """What led to it, or that nothing is known to."""
        nothing = "nothing" if len(self.facts.steps) else "nothing_recorded"
        return self.led(language) or [_word(nothing, language)]

    def when(self, language: Language) -> str:
        """The moment by the robot's clock and what it is of, and the session."""
        info, facts = self.facts.recording.info, self.facts
        unix_s = (facts.zero_ns + info.clock_offset_ns) / 1e9
        moment = datetime.datetime.fromtimestamp(unix_s, datetime.timezone.utc)
        values = {
            "moment": moment.strftime("%Y-%m-%d %H:%M:%S.%f")[:-3] + " UTC",
            "session": facts.session or None,
            "s": (facts.zero_ns - facts.began_ns) / 1e9 if facts.began_ns else None,
            "policy": info.policy,
            "backend": info.backend or None,
        }
        of = "when" if facts.occasion else "when_found" if info.cause == LOST else "when_ended"
        of = of if facts.zero_ns else "when_empty"
        return fill(HEADINGS[of], language, values) + fill(HEADINGS["session"], language, values)

    def as_text(self, language: Language) -> str:
        """For a terminal."""
        colon = ": " if language == "en" else "："
        return "\n".join(
            [
                f"{_word('what', language)}{colon}{self.what(language)}",
                f"  {self.when(language)}",
                f"  {self.path}",
                f"{_word('led', language)}{colon}".rstrip(),
                *(f"  - {line}" for line in self.history(language)),
                f"{_word('then', language)}{colon}{self.then(language)}",
            ]
        )

    def as_map(self) -> dict[str, Any]:
        """For programs; numbers that are not finite are null."""
        facts, info = self.facts, self.facts.recording.info
        return {
            "file": str(self.path),
            "whole": facts.recording.whole,
            "kind": self.verdict.kind,
            "family": self.family,
            "reason": self.verdict.reason,
            "values": _finite(self.verdict.values),
            "at_unix_ns": facts.zero_ns + info.clock_offset_ns,
            "session": facts.session,
            "policy": info.policy,
            "policy_id": info.policy_id,
            "backend": info.backend,
            "led_to_it": [{"kind": each.kind, **_finite(each.values)} for each in self.observations],
            "text": {language: self.what(language) for language in ("en", "zh")},
            "next": {language: self.then(language) for language in ("en", "zh")},
        }


def _in(language: Language, observation: Observation) -> Mapping[str, Any]:
    """Its values; what was refused is told in that language, as its verdict would be."""
    values = observation.values
    if language == "en" or observation.kind != "refused":
        return values
    what = fill(KINDS[values["cause"]].what, language, {**values, "text": values["detail"]})
    return {**values, "text": what.rstrip("。")}


def fill(text: Text, language: Language, values: Mapping[str, Any]) -> str:
    """The text with its values; a [part] whose value is absent, or not a number, is left out."""
    template = text.en if language == "en" else text.zh
    pieces = _OPTIONAL_PART.split(template)
    kept = [piece for place, piece in enumerate(pieces) if place % 2 == 0 or _has_all(piece, values)]
    return "".join(_formatted(piece, values) for piece in kept)


def _formatted(template: str, values: Mapping[str, Any]) -> str:
    result = []
    for literal, name, form, _ in string.Formatter().parse(template):
        result.append(literal)
        if name is not None:
            value = values.get(name)
            result.append("?" if value is None else format(value, form or ""))
    return "".join(result)


def _has_all(part: str, values: Mapping[str, Any]) -> bool:
    names = [name for _, name, _, _ in string.Formatter().parse(part) if name is not None]
    return all(values.get(name) is not None and values[name] == values[name] for name in names)


def _finite(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: None if isinstance(value, float) and value - value != 0 else value
        for name, value in values.items()
    }


def _word(key: str, language: Language) -> str:
    return HEADINGS[key].en if language == "en" else HEADINGS[key].zh
