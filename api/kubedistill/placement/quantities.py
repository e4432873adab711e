"""Quantities: cores and bytes as Kubernetes writes them, and the arithmetic that children need."""

import math
from decimal import Decimal

_MULTIPLES = {
    "": 1,
    "k": 10**3,
    "M": 10**6,
    "G": 10**9,
    "T": 10**12,
    "Ki": 2**10,
    "Mi": 2**20,
    "Gi": 2**30,
    "Ti": 2**40,
}


def number(quantity: str) -> Decimal:
    """Return the value of a quantity: number("1.5Gi") is 1610612736."""
    amount, suffix = _split(quantity)
    return amount / 1000 if suffix == "m" else amount * _MULTIPLES[suffix]


def times(quantity: str, factor: int) -> str:
    """Return a multiple of a quantity in the same unit: times("64Gi", 8) is "512Gi"."""
    amount, suffix = _split(quantity)
    return f"{_plain(amount * factor)}{suffix}"


def cores(count: float) -> str:
    """Return processor cores as a quantity, rounded up to a thousandth: cores(0.5) is "500m"."""
    thousandths = math.ceil(Decimal(str(count)) * 1000)
    return f"{thousandths}m" if thousandths % 1000 else str(thousandths // 1000)


def mebibytes(size: int) -> str:
    """Return bytes as a quantity, rounded down to MiB."""
    return f"{size // 2**20}Mi"


def _split(quantity: str) -> tuple[Decimal, str]:
    amount = quantity.rstrip("mkKMGTi")
    return Decimal(amount), quantity[len(amount) :]


def _plain(amount: Decimal) -> str:
    return f"{amount.normalize():f}"
