from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.domain.energy.facility import uplift
from ledger.domain.errors import InvalidInputError

ENERGY = st.integers(0, 10**15)


@given(ENERGY, ENERGY, st.decimals(1, 3, places=4))
def test_device_host_and_overhead_are_the_facility(device: int, host: int, pue: Decimal) -> None:
    found = uplift(device, host, pue)
    assert (found.device_mj, found.host_mj) == (device, host)
    assert found.overhead_mj >= 0
    assert abs(Decimal(found.total_mj) - (device + host) * pue) <= Decimal("0.5")


@pytest.mark.parametrize(("device", "overhead"), [(1, 1), (3, 1), (5, 3), (7, 3)])
def test_half_a_millijoule_goes_to_the_even_total(device: int, overhead: int) -> None:
    assert uplift(device, 0, Decimal("1.5")).overhead_mj == overhead


def test_a_site_without_uplift_has_no_overhead() -> None:
    assert uplift(123, 45, Decimal(1)).overhead_mj == 0


def test_a_pue_below_one_is_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"0\.99 is below 1"):
        uplift(1, 0, Decimal("0.99"))
