"""Keys in files: who may read them, what is refused, and what gaitctl makes of them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import zmq
from zmq.utils import z85

from gaitd.ctl.cli import main
from gaitd.errors import InputError
from gaitd.system.keys import make_key_pair, read_public_key, read_public_keys, read_secret_key


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    return make_key_pair("alice", tmp_path)


def key() -> str:
    return zmq.curve_keypair()[0].decode()


def test_keygen_makes_a_pair(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keygen", "lite3-07", "--directory", str(tmp_path)]) == 0
    secret, public = tmp_path / "lite3-07.key", tmp_path / "lite3-07.pub"
    assert secret.stat().st_mode & 0o777 == 0o600
    assert read_public_key(public) == zmq.curve_public(read_secret_key(secret))
    assert public.read_text().split()[0] == "lite3-07"
    printed = capsys.readouterr().out
    assert str(secret) in printed
    assert read_secret_key(secret).decode() not in printed


def test_keygen_replaces_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["keygen", "alice", "--directory", str(tmp_path)]
    assert main(command) == 0
    before = {path: path.read_text() for path in tmp_path.iterdir()}
    assert main(command) == 2
    assert "alice.key: is there already" in capsys.readouterr().err
    assert {path: path.read_text() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("name", ["", "../alice", ".alice", "al ice", "#alice", "a" * 65, "alice\n"])
def test_names_that_are_no_file_names(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="use letters, digits"):
        make_key_pair(name, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_keygen_where_nothing_can_be_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere/alice\.pub: cannot be written: No such file"):
        make_key_pair("alice", tmp_path / "nowhere")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666, 0o610])
def test_a_secret_that_others_may_use_is_refused(pair: tuple[Path, Path], mode: int) -> None:
    pair[0].chmod(mode)
    with pytest.raises(InputError, match=f"has mode {mode:04o}: others may use it; chmod 600"):
        read_secret_key(pair[0])


@pytest.mark.parametrize("mode", [0o664, 0o646])
def test_a_list_that_others_may_change_is_refused(pair: tuple[Path, Path], mode: int) -> None:
    pair[1].chmod(mode)
    with pytest.raises(InputError, match="others may add keys to it; chmod go-w"):
        read_public_keys(pair[1])


def of_another_user(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() == 0:
        os.chown(path, 65534, 65534)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)


def test_keys_that_belong_to_another_user_are_refused_to_who_serves(
    pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in pair:
        of_another_user(path, monkeypatch)
    for path, read in zip(pair, (read_secret_key, read_public_keys), strict=True):
        with pytest.raises(InputError, match=rf"{path}: .*belongs to user \d+, who may put other keys there"):
            read(path)
    assert zmq.curve_public(read_secret_key(pair[0], serves=False)) == read_public_key(pair[1])


@pytest.mark.parametrize("mode", [0o777, 0o775, 0o757])
def test_keys_in_a_directory_that_others_may_write_to_are_refused_to_who_serves(
    tmp_path: Path, mode: int
) -> None:
    place = tmp_path / "open"
    place.mkdir()
    (place / "keys").mkdir(mode=0o755)
    pair = make_key_pair("alice", place / "keys")
    safe = tmp_path / "safe"
    safe.symlink_to(place / "keys")
    place.chmod(mode)
    for path, read in zip(pair, (read_secret_key, read_public_keys), strict=True):
        for way in (path, safe / path.name):
            with pytest.raises(InputError, match=f"{way}: {place}, on the way to it, has mode {mode:04o}"):
                read(way)
    assert zmq.curve_public(read_secret_key(pair[0], serves=False)) == read_public_key(pair[1])
    place.chmod(0o1777)  # as /tmp
    assert list(read_public_keys(safe / pair[1].name)) == ["alice"]


def test_a_link_that_others_may_replace_is_refused(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    place = tmp_path / "open"
    place.mkdir()
    place.chmod(0o777)
    (place / "allowed_keys").symlink_to(pair[1])
    (tmp_path / "allowed_keys").symlink_to("open/allowed_keys")
    with pytest.raises(InputError, match="open, on the way to it, has mode 0777"):
        read_public_keys(tmp_path / "allowed_keys")
    place.chmod(0o755)
    assert list(read_public_keys(tmp_path / "allowed_keys")) == ["alice"]


@pytest.mark.parametrize("text", ["", "short", "alice " + "0" * 40, "%" * 40, "ä" * 40, "~" * 40])
def test_what_is_no_secret_key(pair: tuple[Path, Path], text: str) -> None:
    pair[0].write_text(text)
    with pytest.raises(InputError, match=r"alice\.key: holds no secret key"):
        read_secret_key(pair[0])


def test_what_is_no_text(pair: tuple[Path, Path]) -> None:
    pair[0].write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match=r"alice\.key: is not text"):
        read_secret_key(pair[0])


def test_a_list_of_keys(pair: tuple[Path, Path]) -> None:
    alice, bob = key(), key()
    pair[1].write_text(f"# who may move the joints\n\nalice {alice}\n  bob   {bob}  \n")
    assert read_public_keys(pair[1]) == {"alice": alice.encode(), "bob": bob.encode()}
    with pytest.raises(InputError, match=r"holds 2 keys \(alice, bob\)"):
        read_public_key(pair[1])


KEY, OTHER_KEY = (zmq.curve_public(z85.encode(bytes([number]) * 32)).decode() for number in (1, 2))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("\n# nobody\n", "holds no public key"),
        (f"{KEY}\n", "line 1: expected a name and a public key"),
        ("alice\n", "line 1: expected a name"),
        (f"alice {KEY} admin\n", "line 1: expected a name"),
        (f"alice {KEY}\nbob {KEY[:-1]}\n", "line 2: expected a name"),
        (f"alice {KEY}\nalice {OTHER_KEY}\n", "line 2: alice or its key is there twice"),
        (f"alice {KEY}\nbob {KEY}\n", "line 2: bob or its key is there twice"),
    ],
)
def test_a_mistake_in_the_list_is_named(pair: tuple[Path, Path], text: str, message: str) -> None:
    pair[1].write_text(text)
    with pytest.raises(InputError, match=message):
        read_public_keys(pair[1])


@pytest.mark.parametrize("command", ["status", "damp"])
@pytest.mark.parametrize(
    "given", [["--robot", "10.0.0.1"], ["--key", "k"], ["--robot", "10.0.0.1", "--server-key", "s"]]
)
def test_there_is_no_tcp_without_keys(
    command: str, given: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, *given]) == 2
    assert "--robot, --server-key and --key belong together" in capsys.readouterr().err


@pytest.mark.parametrize("robot", ["", ":9460", "host:", "host:x", "host:0", "host:65533", "host:1:2"])
def test_a_wrong_address(pair: tuple[Path, Path], robot: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--robot", robot, "--server-key", str(pair[1]), "--key", str(pair[0])]) == 2
    assert "is not HOST or HOST:PORT" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["doctor", "selftest", "bench", "list", "rollback"])
def test_other_commands_do_not_take_a_robot(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What would look at this machine must not pretend to look at another."""
    with pytest.raises(SystemExit, match="2"):
        main([command, "--robot", "10.0.0.1"])
    assert "unrecognized arguments: --robot" in capsys.readouterr().err
