"""Quantities mean what Kubernetes means by them."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubedistill.placement.quantities import cores, mebibytes, number, times

SUFFIXES = ("", "m", "k", "M", "G", "T", "Ki", "Mi", "Gi", "Ti")
QUANTITIES = st.builds(
    lambda whole, part, suffix: f"{whole}{part}{suffix}",
    st.integers(0, 10**6), st.sampled_from(["", ".5", ".25", ".001"]), st.sampled_from(SUFFIXES),
)  # fmt: skip


@pytest.mark.parametrize(
    ("quantity", "meant"),
    [
        ("0", 0), ("500m", Decimal("0.5")), ("1.5Gi", 1610612736), ("1k", 1000), ("2M", 2_000_000), ("3G", 3 * 10**9),
        ("1T", 10**12), ("1Ki", 1024), ("64Mi", 64 * 2**20), ("2Ti", 2 * 2**40), ("0.1", Decimal("0.1")),
    ],
)  # fmt: skip
def test_number(quantity: str, meant: Decimal | int) -> None:
    assert number(quantity) == meant


@pytest.mark.parametrize(
    ("quantity", "factor", "multiple"),
    [("64Gi", 8, "512Gi"), ("1.5Gi", 2, "3Gi"), ("0.3Gi", 3, "0.9Gi"), ("100", 10, "1000"), ("500m", 3, "1500m")],
)
def test_times(quantity: str, factor: int, multiple: str) -> None:
    assert times(quantity, factor) == multiple


@pytest.mark.parametrize(
    ("count", "quantity"),
    [(8, "8"), (7.5, "7500m"), (0.5, "500m"), (60.0, "60"), (0.1 + 0.2, "301m"), (1e-9, "1m"), (1024.0, "1024")],
)
def test_cores(count: float, quantity: str) -> None:
    assert cores(count) == quantity


@given(QUANTITIES, st.integers(1, 64))
def test_a_multiple_is_a_quantity_of_that_much(quantity: str, factor: int) -> None:
    assert number(times(quantity, factor)) == number(quantity) * factor
    assert "E" not in times(quantity, factor)


@given(st.integers(0, 2**50))
def test_mebibytes_are_never_more_than_was_asked(size: int) -> None:
    assert 0 <= size - number(mebibytes(size)) < 2**20
