"""Captures of a trainer's or a vendor's own run, and how gaitd's pipeline differs from them."""
