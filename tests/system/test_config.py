"""gaitd.toml: every field documented, defaults that come back, mistakes named."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gaitd.cli import main
from gaitd.errors import InputError
from gaitd.system.config import Config
from gaitd.system.config_doc import documented
from gaitd.system.config_files import config_files, load_config

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "gaitd.toml"
    path.write_text(text)
    return path


def all_fields() -> list[tuple[str, str]]:
    return [
        (section.name, field.name)
        for section in msgspec.structs.fields(Config)
        for field in msgspec.structs.fields(section.type)
    ]


def robot_file(root: Path, name: str, text: str) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("name", "target", "said"),
    [
        ("etc/gaitd/gaitd.toml", "/nowhere/gaitd.toml", "a link to /nowhere/gaitd.toml, where nothing is"),
        ("etc/gaitd/gaitd.toml", "gaitd.toml", "Too many levels of symbolic links"),
        ("etc/gaitd/gaitd.toml.d", "/nowhere", "a link to /nowhere, where nothing is"),
        ("etc/gaitd", "/nowhere", "a link to /nowhere, where nothing is"),
        ("usr/lib/gaitd/gaitd.toml", "/nowhere", "a link to /nowhere, where nothing is"),
    ],
)
def test_a_link_that_leads_nowhere_is_not_the_defaults(
    tmp_path: Path, name: str, target: str, said: str
) -> None:
    link = tmp_path / name
    link.parent.mkdir(parents=True)
    link.symlink_to(target)
    with pytest.raises(InputError) as refused:
        load_config(None, tmp_path)
    assert str(refused.value) == f"{link}: cannot be read: {said}"


def test_without_a_file_all_is_default(tmp_path: Path) -> None:
    assert load_config(None, tmp_path) == Config()


def test_the_robots_files_add_up_field_by_field_the_owners_last(tmp_path: Path) -> None:
    robot_file(tmp_path, "usr/lib/gaitd/gaitd.toml", "[realtime]\nworker_cpus = [6]\nguardian_cpus = [5]\n")
    robot_file(tmp_path, "etc/gaitd/gaitd.toml", "[realtime]\nworker_cpus = [7]\n[guard]\nstance_s = 0.1\n")
    for name, stance_s in (("50-b.toml", 0.3), ("10-a.toml", 0.2), ("90.toml.bak", 0.4)):
        robot_file(tmp_path, f"etc/gaitd/gaitd.toml.d/{name}", f"[guard]\nstance_s = {stance_s}\n")
    config = load_config(None, tmp_path)
    assert (config.realtime.worker_cpus, config.realtime.guardian_cpus) == ([7], [5])
    assert config.guard.stance_s == 0.3
    assert [path.name for path in config_files(tmp_path)] == [
        "gaitd.toml", "gaitd.toml", "10-a.toml", "50-b.toml"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[guard]\ndeadline = 3\n", "unknown field `deadline`"),
        ("guard = 1\n", r"Expected `object`, got `int` - at `\$\.guard`"),
        ("[realtime]\nworker_priority = 75\n", "guardian_priority is 74 and worker_priority 75"),
        ('[metrics]\naddress = "/etc/passwd"\n', "is there and no socket"),
        ("[guard\n", "not valid TOML"),
    ],
)
def test_a_mistake_is_said_of_the_file_it_is_in(tmp_path: Path, text: str, message: str) -> None:
    robot_file(tmp_path, "etc/gaitd/gaitd.toml", "[realtime]\nguardian_priority = 74\n")
    wrong = robot_file(tmp_path, "etc/gaitd/gaitd.toml.d/20.toml", text)
    robot_file(tmp_path, "etc/gaitd/gaitd.toml.d/30.toml", "[guard]\nstance_s = 0.1\n")
    with pytest.raises(InputError, match=message) as caught:
        load_config(None, tmp_path)
    assert str(caught.value).startswith(f"{wrong}: ")


def test_a_drop_in_that_leads_nowhere_is_not_passed_over(tmp_path: Path) -> None:
    link = robot_file(tmp_path, "etc/gaitd/gaitd.toml.d/x", "").with_name("20.toml")
    link.symlink_to("nowhere")
    with pytest.raises(InputError, match=r"20\.toml: cannot be read: No such file"):
        load_config(None, tmp_path)


def test_damping_begins_at_once_unless_a_stance_is_set(tmp_path: Path) -> None:
    assert Config().guard.stance_s == 0.0
    assert load_config(write(tmp_path, "[guard]\nstance_s = 0.5\n")).guard.stance_s == 0.5


def test_an_empty_file_is_all_defaults(tmp_path: Path) -> None:
    assert load_config(write(tmp_path, "")) == Config()


def test_the_documented_defaults_are_the_defaults(tmp_path: Path) -> None:
    assert load_config(write(tmp_path, documented(Config()))) == Config()


def test_every_field_is_in_the_documentation() -> None:
    sections = tomllib.loads(documented(Config()))
    assert [(section, field) for section, fields in sections.items() for field in fields] == all_fields()


@pytest.mark.parametrize(("section", "field"), all_fields())
def test_every_field_is_explained(section: str, field: str) -> None:
    part = documented(Config()).split(f"[{section}]\n")[1].split("\n\n")[0]
    assert re.search(rf"^# .+\n{field} = ", part, re.MULTILINE), f"{section}.{field} has no comment"


def test_there_is_no_endpoint_on_port_0(tmp_path: Path) -> None:
    """In the file as on the command line."""
    assert Config().metrics.wanted
    assert not load_config(write(tmp_path, "[metrics]\nport = 0\n")).metrics.wanted


def test_what_is_written_is_what_holds(tmp_path: Path) -> None:
    config = load_config(
        write(
            tmp_path, '[daemon]\nruntime_dir = "/tmp/g"\n[guard]\ndeadline_periods = 3\n[metrics]\nport = 1\n'
        )
    )
    assert config.daemon.runtime_dir == "/tmp/g"
    assert config.guard.deadline_periods == 3.0
    assert config.metrics.port == 1
    assert config.realtime == Config().realtime


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[daemon]\ncolour = 1", r"unknown field `colour` - at `\$\.daemon`; known: runtime_dir, backend, "),
        ("[colour]\nred = 1", r"unknown field `colour`; known: daemon, guard, "),
        ("deadline_periods = 3", r"`deadline_periods`; known: .*; deadline_periods belongs below guard"),
        ("daemon = 1", r"`\$\.daemon`"),
        ('[daemon]\nbackend = "gpu"', r"'gpu' - at `\$\.daemon\.backend`"),
        ("[daemon]\nnpu_core = 0", r"at `\$\.daemon\.npu_core`"),
        ('[daemon]\nnpu_core = "3"', r"'3' - at `\$\.daemon\.npu_core`"),
        ("[daemon]\nkeep_warm_s = 0", r"> 0\.0 - at `\$\.daemon\.keep_warm_s`"),
        ("[daemon]\nkeep_warm_s = 3", r"<= 2\.5 - at `\$\.daemon\.keep_warm_s`"),
        ("[guard]\ndeadline_periods = 1", r">= 2\.0 - at `\$\.guard\.deadline_periods`"),
        ("[guard]\ndeadline_periods = nan", r"at `\$\.guard\.deadline_periods`"),
        ("[guard]\ndeadline_periods = inf", r"at `\$\.guard\.deadline_periods`"),
        ("[guard]\nstate_max_age_periods = 0", r"at `\$\.guard\.state_max_age_periods`"),
        ("[guard]\nfirst_command_s = 6", r"<= 5\.0 - at `\$\.guard\.first_command_s`"),
        ("[guard]\nstance_s = 1", r"<= 0\.5 - at `\$\.guard\.stance_s`"),
        ("[guard]\nstance_s = -0.1", r">= 0\.0 - at `\$\.guard\.stance_s`"),
        ("[guard]\nstance_s = nan", r"at `\$\.guard\.stance_s`"),
        (
            "[guard]\ndeadline_periods = 3\nstate_max_age_periods = 4",
            r"state_max_age_periods is 4 and deadline_periods 3: .*set deadline_periods above .* `\$\.guard`",
        ),
        ("[guard]\ndeadline_periods = 2", r"state_max_age_periods is 2 and deadline_periods 2"),
        (
            "[guard]\nfallback_damping_min_nms_per_rad = 30",
            r"fallback_damping_min_nms_per_rad is 30 and fallback_damping_max_nms_per_rad 20: no policy",
        ),
        ("[guard]\nfallback_damping_max_nms_per_rad = inf", r"<= 1000\.0 - at `\$\.guard\.fall"),
        ("[guard]\nfallback_damping_min_nms_per_rad = -1", r">= 0\.0 - at `\$\.guard\.fall"),
        (
            "[realtime]\nworker_priority = 70",
            r"guardian_priority is 70 and worker_priority 70: .*set guardian_priority above",
        ),
        ('[standby]\nmode = "npu"', r"Invalid enum value 'npu' - at `\$\.standby\.mode`"),
        (
            '[standby]\nmode = "on"\n[guard]\ndeadline_periods = 3',
            r"standby\.mode is .on., and guard\.deadline_periods is 3: .*set it to 4 or more, or standby",
        ),
        (
            '[standby]\nmode = "on"\n[realtime]\nworker_priority = 50',
            r"standby_priority is 50 and realtime\.worker_priority 50: .*set standby_priority below",
        ),
        (
            "[realtime]\nworker_cpus = [4, 6]\nstandby_cpus = [6]",
            r"standby_cpus is \[6\] and worker_cpus \[4, 6\]: .*give standby_cpus another core",
        ),
        ('[daemon]\nruntime_dir = "/' + "p" * 110 + '"', r"a socket's path of 124 bytes, .* may have 107"),
        ('[daemon]\nruntime_dir = "@gaitd"', r"@gaitd/command\.sock names no file: anybody may connect"),
        ('[daemon]\nruntime_dir = "/tmp/a\\u0000b"', r"matching regex .* - at `\$\.daemon\.runtime_dir`"),
        ('[metrics]\naddress = "/tmp/a\\u0000b"', r"matching regex .* - at `\$\.metrics\.address`"),
        ('[recorder]\ndirectory = "/tmp/a\\u0000b"', r"matching regex .* - at `\$\.recorder\.directory`"),
        ('[network]\nserver_key = "/tmp/a\\u0000b"', r"matching regex .* - at `\$\.network\.server_key`"),
        ('[metrics]\naddress = "/' + "p" * 110 + '"', r"a socket's path of 111 bytes, .* may have 107"),
        ('[metrics]\naddress = "run/metrics.sock"', r"'run/metrics\.sock' is neither an IP address nor"),
        ('[metrics]\naddress = "robot.local"', r"'robot\.local' is neither an IP address nor"),
        ('[metrics]\naddress = "/etc/passwd"', r"metrics\.address: /etc/passwd is there and no socket"),
        (
            '[metrics]\naddress = "0.0.0.0"\nport = 9462\n[network]\naddress = "10.0.0.1"\n'
            'server_key = "/k"\nallowed_keys = "/l"',
            r"metrics\.port is 9462, and network\.port 9460 takes 9460 to 9463 of 10\.0\.0\.1",
        ),
        ("[realtime]\nworker_priority = 99", r"<= 98 - at `\$\.realtime\.worker_priority`"),
        ("[realtime]\nworker_cpus = [-1]", r">= 0 - at `\$\.realtime\.worker_cpus\[.*\]`"),
        ('[realtime]\nenabled = "yes"', r"Expected `bool`.*`\$\.realtime\.enabled`; found 'yes'"),
        ("[metrics]\nport = -1", r">= 0 - at `\$\.metrics\.port`; found -1"),
        ("[metrics]\nport = 65536", r"<= 65535 - at `\$\.metrics\.port`"),
        ('[network]\naddress = "robot.local"', r"'robot.local' is not an IPv4 address - at `\$\.network`"),
        ('[network]\naddress = "10.0.0.1"', r"server_key is empty: there is no TCP without keys; .*keygen"),
        ('[network]\naddress = "10.0.0.1"\nserver_key = "/k"', r"allowed_keys is empty: there is no TCP"),
        ("[network]\nport = 65533", r"<= 65532 - at `\$\.network\.port`"),
        ("[metrics", r"not valid TOML"),
        ("[metrics]\nport = 1\nport = 2", r"not valid TOML"),
    ],
)
def test_a_mistake_is_named(
    tmp_path: Path, text: str, message: str, small_bundle_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path, text)
    with pytest.raises(InputError, match=message) as caught:
        load_config(path)
    assert str(caught.value).startswith(f"{path}: ")
    run = ["run", "--bundle", str(small_bundle_path), "--config", str(path)]
    for arguments in (["config", str(path)], run):
        assert main(arguments) == 2
        assert capsys.readouterr().err == f"gaitd: error: {caught.value}\n"


@pytest.mark.parametrize(
    "text",
    [
        "[guard]\ndeadline_periods = 2.5\nstate_max_age_periods = 2.4",
        '[metrics]\naddress = "::1"',
        '[metrics]\naddress = "/nowhere/metrics.sock"',
        '[metrics]\nenabled = false\naddress = "/etc/passwd"',
        '[metrics]\nport = 9462\n[network]\naddress = "10.0.0.1"\nserver_key = "/k"\nallowed_keys = "/l"',
    ],
)
def test_what_is_no_contradiction(tmp_path: Path, text: str) -> None:
    load_config(write(tmp_path, text))


def test_a_socket_that_an_earlier_gaitd_left_is_no_mistake(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "metrics.sock"))
        load_config(write(tmp_path, f'[metrics]\naddress = "{tmp_path}/metrics.sock"'))


def test_a_config_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing\.toml: cannot be read: No such file"):
        load_config(tmp_path / "nothing.toml")
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match=r"binary\.toml: not valid TOML"):
        load_config(binary)


def test_the_command_prints_and_checks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config"]) == 0
    printed = capsys.readouterr().out
    assert printed == documented(Config())
    path = write(tmp_path, printed)
    assert main(["config", str(path)]) == 0
    assert capsys.readouterr().out == f"{path}: good\n"


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (["--metrics-port", "70000"], r"<= 65535 - at `\$\.metrics\.port`"),
        (["--runtime-dir", "/" + "p" * 110], r"a socket's path of 124 bytes, a Unix socket may have 107"),
        (["--metrics-port", "-1"], r">= 0 - at `\$\.metrics\.port`"),
    ],
)
def test_the_command_line_is_held_to_the_same(
    option: list[str], message: str, small_bundle_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "--bundle", str(small_bundle_path), *option]) == 2
    error = capsys.readouterr().err
    assert error.startswith("gaitd: error: command line: ")
    assert re.search(message, error)


def test_defaults_are_within_their_own_bounds() -> None:
    values: Any = msgspec.to_builtins(Config())
    assert msgspec.convert(values, Config) == Config()


@pytest.mark.parametrize(
    "text",
    [
        *("a = " + "[" * 20_000, "a = " + "{a = " * 5000, "a = " + "9" * 5000, "a = 0x" + "f" * 5000),
        *('"\\u001b[2J\\n" = 1', '[guard]\n"\\n" = 1', "a = 2024-13-45", "\x00", "a = 1e999999"),
    ],
)
def test_toml_that_trips_its_parser_is_one_line(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError) as caught:
        load_config(write(tmp_path, text))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 2000


def test_a_file_is_utf8_whatever_the_locale_is(tmp_path: Path) -> None:
    path = tmp_path / "gaitd.toml"
    path.write_text("# \u673a\u5668\u4eba\n", encoding="utf-8")
    ascii_locale = {**os.environ, "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    command = [sys.executable, "-m", "gaitd.cli", "config", str(path)]
    assert subprocess.run(command, env=ascii_locale, capture_output=True, check=False).returncode == 0


def test_what_a_standby_does_not_work_with_is_no_matter_without_one(tmp_path: Path) -> None:
    text = "[guard]\ndeadline_periods = 3\n[realtime]\nworker_priority = 40\n"
    assert load_config(robot_file(tmp_path, "etc/gaitd/gaitd.toml", text)).standby_clash()
