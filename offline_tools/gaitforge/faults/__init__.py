"""Fault injection into the running processes, and the assessment of each fault."""
