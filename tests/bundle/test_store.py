"""The policy store: killed at every call, changed by two at once, edited, copied, taken over."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from gaitd.bundle import store_change
from gaitd.bundle.read import Bundle, open_bundle
from gaitd.bundle.store import PolicyStore, Selection
from gaitd.bundle.store_change import change_store
from gaitd.errors import InputError
from support.bundles import edit_manifest, small_manifest, write_small_bundle

Bundles = dict[str, Bundle]


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Bundles:
    directory = tmp_path_factory.mktemp("bundles")
    return {
        name: open_bundle(write_small_bundle(directory / f"{name}.gaitd", small_manifest(name=name)))
        for name in "abcd"
    }


@pytest.fixture
def store(tmp_path: Path, bundles: Bundles) -> PolicyStore:
    """a is active, b was before, c waits."""
    store = PolicyStore(tmp_path / "store")
    with change_store(store) as change:
        for name in "abc":
            change.install(bundles[name])
        change.activate(bundles["b"].id)
        change.activate(bundles["a"].id)
    return store


def test_a_selection_that_is_a_link_to_nothing_is_not_an_empty_store(store: PolicyStore) -> None:
    store.selection_file.unlink()
    store.selection_file.symlink_to("/nowhere/selection.json")
    with pytest.raises(InputError, match=r"selection\.json: cannot be read: a link to /nowhere"):
        store.selection()


def test_no_policy_is_deleted_because_its_disk_is_not_mounted(store: PolicyStore, bundles: Bundles) -> None:
    entry = store.directory / bundles["c"].id
    shutil.rmtree(entry)
    entry.symlink_to("/nowhere/c")
    with pytest.raises(InputError, match="a link to /nowhere/c, where nothing is"), change_store(store):
        pass
    assert entry.is_symlink()


def content(store: PolicyStore) -> tuple[list[str], Selection]:
    """Names of the policies that verify, and the selection; nothing else may be there."""
    policies = store.policies()
    assert {path.name for path in store.root.iterdir()} <= {"policies", "selection.json", "lock"}
    assert {path.name for path in store.directory.iterdir()} == {policy.id for policy in policies}
    return sorted(store.open(policy.id).manifest.name for policy in policies), store.selection()


def readable(store: PolicyStore) -> tuple[list[str], Selection]:
    """The same for who has no rights to clear up."""
    names = sorted(store.open(policy.id).manifest.name for policy in store.policies())
    return names, store.selection()


@pytest.mark.parametrize("operation", ["install d", "activate c", "activate b", "remove c", "repair c"])
def test_killed_at_any_call_it_is_the_old_or_the_new(
    store: PolicyStore, bundles: Bundles, tmp_path: Path, operation: str
) -> None:
    verb, name = operation.split()
    before = readable(store)
    if verb == "repair":
        (store.directory / bundles["c"].id / "model.onnx").write_bytes(b"rot")
        (store.directory / bundles["c"].id / "more").write_bytes(b"rot")
    argument = bundles[name].id if verb in ("activate", "remove") else str(bundles[name].path)
    how = "install" if verb == "repair" else verb
    copies = tmp_path / "copies"
    command = [sys.executable, "-m", "support.kill_points", store.root, copies, how, argument]
    subprocess.run(list(map(str, command)), check=True, timeout=300)
    stores = [PolicyStore(copies / str(call + 1)) for call in range(len(list(copies.iterdir())))]
    after = content(stores[-1])
    assert after == before if verb == "repair" else after != before
    assert len(stores) > 3
    for killed in stores:
        if verb != "repair":
            assert readable(killed) in (before, after)
        assert killed.selection() in (before[1], after[1])
        with change_store(killed):
            pass
        if verb == "install" or verb == "repair":
            with change_store(killed) as change:
                change.install(bundles[name])
            assert content(killed) == after
        else:
            assert content(killed) in (before, after)
        assert killed.rollback_target()[0].id == killed.selection().previous


def test_the_last_try_of_a_killed_removal_and_reinstallation(store: PolicyStore, bundles: Bundles) -> None:
    """What an earlier release left half removed does not stand in the way."""
    (store.directory / f".removed-{bundles['c'].id}").mkdir()
    (store.directory / f".removed-{bundles['c'].id}" / "manifest.yaml").write_bytes(b"x")
    (store.directory / ".new-abc").mkdir()
    (store.root / ".active.new").symlink_to("policies/nowhere")
    with change_store(store) as change:
        assert change.remove(bundles["c"].id[:12]) == bundles["c"].id
    assert content(store)[0] == ["a", "b"]


def test_an_edited_manifest_is_found_out_everywhere(store: PolicyStore, bundles: Bundles) -> None:
    """It is a good bundle, but another one than the directory says."""
    edit_manifest(store.directory / bundles["a"].id, lambda manifest: manifest.update(version="6.6.6"))
    for look in (store.open_active, lambda: store.open(bundles["a"].id)):
        with pytest.raises(InputError, match=r"manifest\.yaml: changed since it was installed"):
            look()
    with (
        change_store(store) as change,
        pytest.raises(InputError, match="changed since it was installed"),
    ):
        change.activate(bundles["a"].id)
    with change_store(store) as change:
        change.install(bundles["a"])
    assert store.open_active().manifest.version == "1.0.0"


def test_a_selected_policy_that_is_gone_is_still_listed(store: PolicyStore, bundles: Bundles) -> None:
    shutil.rmtree(store.directory / bundles["a"].id)
    assert [policy.id for policy in store.policies() if policy.active] == [bundles["a"].id]
    with pytest.raises(InputError, match="no such bundle"):
        store.open_active()


def test_two_changes_at_once_come_one_after_the_other(store: PolicyStore, bundles: Bundles) -> None:
    """The second finds what the first left: what is being activated cannot be removed meanwhile."""
    errors = []

    def remove() -> None:
        try:
            with change_store(store) as change:
                change.remove(bundles["c"].id)
        except InputError as error:
            errors.append(str(error))

    with change_store(store) as change:
        other = threading.Thread(target=remove)
        other.start()
        change.activate(bundles["c"].id)
    other.join()
    assert len(errors) == 1
    assert "is the active one" in errors[0]
    assert store.open_active().id == bundles["c"].id


def test_a_change_that_takes_long_is_not_waited_for_for_ever(
    store: PolicyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_change, "LOCK_WAIT_S", 0.1)
    with (store.root / "lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="another gaitctl is changing it"), change_store(store):
            pass


def as_links(store: PolicyStore) -> None:
    """As an earlier release had it."""
    selection = store.selection()
    store.selection_file.unlink()
    (store.root / "active").symlink_to(Path("policies") / selection.active)
    (store.root / "previous").symlink_to(Path("policies") / selection.previous)


def test_links_of_an_earlier_release_are_taken_over(store: PolicyStore, bundles: Bundles) -> None:
    expected = content(store)
    as_links(store)
    assert (store.selection(), store.open_active().id) == (expected[1], bundles["a"].id)
    with change_store(store) as change:
        pass
    assert content(store) == expected
    assert change.notes == []


@pytest.mark.parametrize("policies_too", [True, False])
def test_a_copy_that_followed_its_links_is_taken_over(
    store: PolicyStore, bundles: Bundles, tmp_path: Path, policies_too: bool
) -> None:
    expected = content(store)
    as_links(store)
    copy = PolicyStore(tmp_path / "copy")
    shutil.copytree(store.root, copy.root)
    if not policies_too:
        shutil.rmtree(copy.directory / bundles["a"].id)
    assert copy.selection() == expected[1]
    with change_store(copy) as change:
        pass
    assert content(copy) == expected
    assert [note.split(":")[0] for note in change.notes] == [
        str(copy.root / "active"),
        str(copy.root / "previous"),
    ]


@pytest.mark.parametrize(
    "what", ["another link", "an empty directory", "damaged", "no text", "no json", "a bad id"]
)
def test_a_selection_that_says_nothing_is_named(store: PolicyStore, what: str) -> None:
    if what == "another link":
        store.selection_file.unlink()
        (store.root / "active").symlink_to("/tmp")
    elif what == "an empty directory":
        store.selection_file.unlink()
        (store.root / "active").mkdir()
    else:
        contents = {
            "damaged": b'{"active"',
            "no text": b'{"active": "\xff"}',
            "no json": b"[]",
            "a bad id": b'{"active": "../../etc"}',
        }
        store.selection_file.write_bytes(contents[what])
    with pytest.raises(InputError, match=rf"{store.root}/(active|selection\.json): .*delete it"):
        store.open_active()
    with pytest.raises(InputError, match="delete it"), change_store(store) as change:
        change.activate(store.directory.iterdir().__next__().name)


def test_what_is_stored_can_be_read_by_everybody(tmp_path: Path, bundles: Bundles) -> None:
    """gaitd runs as another user than the one who installs, whose umask may be narrow."""
    store = PolicyStore(tmp_path / "deep" / "store")
    before = os.umask(0o077)
    try:
        with change_store(store) as change:
            change.install(bundles["a"])
            change.activate(bundles["a"].id)
        assert os.umask(0o077) == 0o077
    finally:
        os.umask(before)
    for path in [store.root, *store.root.rglob("*")]:
        if path.name == "lock":
            assert path.stat().st_mode & 0o777 == 0o600
        else:
            assert path.stat().st_mode & 0o777 == (0o755 if path.is_dir() else 0o644)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere: make test as another user")
def test_without_the_rights_it_says_what_to_do(store: PolicyStore, bundles: Bundles) -> None:
    store.root.chmod(0o555)
    with pytest.raises(InputError, match="run it with sudo"), change_store(store):
        pass
