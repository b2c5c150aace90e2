"""A controller in Python, for workstations and notebooks. Not for a robot: it has no timer of its own."""

from gaitforge.client.client import Client, Sample
from gaitforge.client.contract import Contract
from gaitforge.client.orders import Refusal
from gaitforge.client.period import Period

__all__ = ["Client", "Contract", "Period", "Refusal", "Sample"]
