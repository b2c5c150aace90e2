"""C++ and Python hold the same contract, and neither writes a part of it by hand."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from gaitd.wire import generated
from gaitd.wire.generated import (
    CAUSE_UNITS,
    LIMP_REASONS,
    CauseKind,
    MessageType,
    Mode,
    Reason,
)
from support.proto import CONTRACT, HELLO_REPLY_KEYS

REPOSITORY = Path(__file__).parents[2]
CPP = REPOSITORY / "proto/cpp"
HEADERS = CPP / "include/gaitd"
WIRE = REPOSITORY / "daemon/gaitd/wire"
BY_HAND = [
    *(path for path in HEADERS.glob("*.hpp") if path.name != "contract.hpp"),
    *(CPP / "vendor").glob("*.hpp"),
    *(path for path in WIRE.glob("*.py") if path.name != "generated.py"),
]
CONSTANTS = {constant.name.upper(): constant.value for constant in CONTRACT.constants}
# Small numbers, powers of ten and 2^16 stand for other things as well, as in the headers of msgpack.
OWN = {
    name: value
    for name, value in CONSTANTS.items()
    if not isinstance(value, str) and value > 1000 and value not in (65536, 1_000_000_000)
}


def camel(name: str) -> str:
    return "".join(word.capitalize() for word in name.lower().split("_"))


def constant(name: str) -> str:
    stem, _, unit = name.rpartition("_")
    return f"k{camel(stem)}_{unit}" if unit in ("ns", "ms") else f"k{camel(name)}"


def statements() -> Iterator[str]:
    """What C++ must know."""
    yield f"kProtocolVersion == {generated.PROTOCOL_VERSION}"
    for each in CONTRACT.constants:
        if each.only == "python":
            continue
        name, value = constant(each.name), each.value
        yield f'same({name}, "{value}")' if isinstance(value, str) else f"{name} == {value}"
    for kind in (MessageType, Mode, Reason, CauseKind):
        for member in kind:
            value = f"{kind.__name__}::{camel(member.name)}"
            yield f"static_cast<int>({value}) == {member.value}"
            yield f'same(toString({value}), "{member.name.lower()}")'
    for reason in CONTRACT.reasons:
        limp = str(Reason(reason.number) in LIMP_REASONS).lower()
        yield f"isLimp(Reason::{camel(reason.name)}) == {limp}"
        yield f'same(text(Reason::{camel(reason.name)}), "{reason.text}")'
    for cause in CauseKind:
        yield f'same(unitOf(CauseKind::{camel(cause.name)}), "{CAUSE_UNITS.get(cause, "")}")'
    for index, channel in enumerate(generated.CHANNELS):
        yield f"static_cast<int>(Channel::{camel(channel)}) == {index}"
        yield f'same(kChannelNames[{index}], "{channel}")'
    for message in ("STATE", "RAW_OBSERVATION", "COMMAND"):
        yield f"k{camel(message)}Elements == {len(getattr(generated, f'{message}_FIELDS'))}"
    yield "!isLimp(static_cast<Reason>(200))"
    yield 'same(toString(static_cast<CauseKind>(200)), "unknown")'


def compile_contract(source: str) -> subprocess.CompletedProcess[str]:
    same = """constexpr bool same(const char* a, const char* b) {
        return *a == *b && (*a == 0 || same(a + 1, b + 1));
    }"""
    return subprocess.run(
        ["c++", "-std=c++17", "-fsyntax-only", f"-I{HEADERS.parent}", "-x", "c++", "-"],
        input=f"#include <gaitd/contract.hpp>\nusing namespace gaitd;\n{same}\n{source}\n",
        capture_output=True,
        text=True,
    )


def test_cpp_knows_what_python_knows() -> None:
    source = "\n".join(f"static_assert({statement});" for statement in statements())
    assert len(source.splitlines()) > 100
    done = compile_contract(source)
    assert done.returncode == 0, done.stderr


def test_a_constant_that_differs_does_not_compile() -> None:
    assert compile_contract("static_assert(kMaxJoints == 63);").returncode != 0
    assert compile_contract('static_assert(same(toString(Mode::Idle), "idlo"));').returncode != 0


@pytest.mark.parametrize("path", BY_HAND, ids=lambda path: path.name)
def test_nothing_of_the_contract_is_written_by_hand(path: Path) -> None:
    text = path.read_text("utf-8")
    for number in re.findall(r"(?<![\w.'])\d[\d_']*", text):
        value = int(re.sub(r"[_']", "", number))
        names = [name for name, own in OWN.items() if own == value]
        assert not names, f"{path.name} has {number}: take {names} from the contract"
    for kind in ("Mode", "Reason", "CauseKind", "MessageType", "Channel"):
        assert not re.search(rf"\b(enum )?class {kind}\b", text), f"{path.name} defines {kind}"


def test_the_clients_package_has_the_version_of_the_contract() -> None:
    version = re.search(r"project\(gaitd_client VERSION (\d+)\.", (CPP / "CMakeLists.txt").read_text("utf-8"))
    assert version is not None
    assert int(version[1]) == generated.PROTOCOL_VERSION


def test_the_client_reads_every_key_of_hellos_reply() -> None:
    text = (HEADERS / "control.hpp").read_text("utf-8")
    assert [key for key in HELLO_REPLY_KEYS if f'"{key}"' not in text] == []


def test_the_client_fills_fields_of_a_state() -> None:
    text = (HEADERS / "client.hpp").read_text("utf-8")
    default = re.search(r"usualFields\(\) \{\s*return \{(.*?)\};", text, re.DOTALL)
    assert default is not None
    named = re.findall(r'"(\w+)"', default[1])
    assert named
    assert set(named) <= set(generated.STATE_VALUES)


def test_the_client_sends_every_key_of_a_request() -> None:
    text = (HEADERS / "control.hpp").read_text("utf-8")
    requests = {request.name: request.keys_needed for request in CONTRACT.requests}
    for name in ("hello", "activate", "release", "damp"):
        packed = re.search(rf'request\(id, "{name}".*?\n\}}\n', text, re.DOTALL)
        assert packed is not None
        keys = re.findall(r'packer\.pack\(std::string\("(\w+)"\)\)', packed[0])
        assert sorted(keys) == sorted(requests[name])
