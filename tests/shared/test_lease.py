"""The lease word: one holder, one expiry, read at once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gaitd.shared import lease

EPOCHS = st.integers(1, 2**40)
SLOTS = st.integers(0, 15)
TIMES = st.integers(1 << 17, 4 * 365 * 86400 * 10**9)


@given(EPOCHS, SLOTS, TIMES)
def test_it_permits_its_holder_until_it_expires(epoch: int, slot: int, expiry_ns: int) -> None:
    word = lease.grant(epoch, slot, expiry_ns)
    assert 0 <= word < 2**64
    assert lease.is_of(word, epoch, slot)
    assert lease.permits(word, epoch, slot, expiry_ns - lease.EXPIRY_UNIT_NS)
    assert not lease.permits(word, epoch, slot, expiry_ns), "the expiry is rounded down, never up"
    for other_epoch, other_slot in ((epoch + 1, slot), (epoch - 1, slot), (epoch, (slot + 1) % 16)):
        assert not lease.is_of(word, other_epoch, other_slot)
        assert not lease.permits(word, other_epoch, other_slot, 0)


@given(EPOCHS, SLOTS)
def test_nobody_is_nobody(epoch: int, slot: int) -> None:
    assert not lease.is_of(lease.NOBODY, epoch, slot)
    assert not lease.permits(lease.NOBODY, epoch, slot, 0)
