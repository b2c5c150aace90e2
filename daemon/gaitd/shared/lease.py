"""The lease: one 8-byte word that says whose commands may be published, and until when.

    bits 63..44  epoch, its low 20 bits: stands for one session and one holder
    bits 43..40  slot of the worker that holds it
    bits 39..0   expiry on CLOCK_MONOTONIC, in units of 131,072 ns: enough for 4.5 years of uptime

The guardian writes it at each tick; a worker reads it once, between its step and the sending. One read, so
there is no order of two words to get wrong. A command that was checked just before a change may still leave:
epoch, sequence and age at the client are the authority.
"""

from __future__ import annotations

NOBODY = 0
"""No worker may publish."""
EPOCH_BITS, SLOT_BITS, EXPIRY_BITS = 20, 4, 40
EXPIRY_UNIT_NS = 1 << 17


def grant(epoch: int, slot: int, expiry_ns: int) -> int:
    """The word for that holder; the expiry is rounded down."""
    expiry = (expiry_ns // EXPIRY_UNIT_NS) & ((1 << EXPIRY_BITS) - 1)
    return _holder(epoch, slot) << EXPIRY_BITS | expiry


def is_of(word: int, epoch: int, slot: int) -> bool:
    """Whether the word names that holder, expired or not."""
    return word != NOBODY and word >> EXPIRY_BITS == _holder(epoch, slot)


def permits(word: int, epoch: int, slot: int, now_ns: int) -> bool:
    """Whether that holder may publish at ``now_ns``."""
    expiry = word & ((1 << EXPIRY_BITS) - 1)
    return is_of(word, epoch, slot) and now_ns < expiry * EXPIRY_UNIT_NS


def _holder(epoch: int, slot: int) -> int:
    return (epoch & ((1 << EPOCH_BITS) - 1)) << SLOT_BITS | slot
