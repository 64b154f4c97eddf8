"""What a cost lacks is named for all the time that it lacks it, and for no other."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from ledger.domain.cost.deployment import Deployment, EngineKey
from ledger.domain.cost.factory import AssetTerms, Factory, GpuHome, PowerPrice, SiteUplift
from ledger.domain.cost.gap import Gap, find_gaps, find_site_gaps, find_unserved, uncovered
from ledger.domain.cost.site_cost import SiteTerm
from ledger.domain.cost.site_models.of_others import Bill, Percentage
from ledger.domain.cost.site_models.span import SiteCostModel
from ledger.domain.entity import LegalEntity
from ledger.domain.period import Period
from ledger.wire.site_inputs import BillTerms, PercentTerms

START = datetime(2026, 3, 2, tzinfo=UTC)
SPANS = st.tuples(st.integers(-2, 14), st.integers(1, 9)).map(lambda span: (span[0], sum(span)))
GPU, ASSET = "GPU-a", "rack"


def at(minute: int) -> datetime:
    return START + timedelta(minutes=minute)


@given(st.integers(1, 12), st.lists(SPANS, max_size=6))
def test_what_is_not_covered_is_each_minute_that_no_span_has(
    end: int, covered: list[tuple[int, int]]
) -> None:
    found = uncovered((at(0), at(end)), [(at(a), at(b)) for a, b in covered])
    lacking = [m for m in range(end) if not any(a <= m < b for a, b in covered)]
    assert [m for m in range(end) if any(a <= at(m) < b for a, b in found)] == lacking
    assert sum((b - a for a, b in found), timedelta()) == timedelta(minutes=len(lacking))
    assert found == sorted(found)


def serving(since: int, until: int | None, gpus: tuple[str, ...] = (GPU,)) -> Deployment:
    return Deployment(
        *("chat", "acme", ASSET, "m", None, len(gpus), gpus, ("engine",)),
        at(since),
        None if until is None else at(until),
    )


def lease(since: int = 0, until: int | None = None, *, all_in: bool = False) -> AssetTerms:
    return AssetTerms(
        *(ASSET, "acme", "site", "Rack", "leased", 8, "EUR", None, None, None, None),
        *(Decimal(2), all_in),
        at(since),
        None if until is None else at(until),
    )


def factory(
    assets: Sequence[AssetTerms],
    deployments: Sequence[Deployment] = (),
    *,
    home: str = "acme",
    currency: str = "EUR",
) -> Factory:
    """A site whose PUE is known for an hour and whose power is priced for half of one."""
    return Factory(
        LegalEntity("acme", "EUR", "UTC"),
        assets,
        deployments,
        [SiteUplift("site", Decimal("1.2"), 0, at(0), at(60))],
        [PowerPrice("site", "spot", currency, Decimal(100), at(0), at(30))],
        {GPU: GpuHome(GPU, home, ASSET)},
    )


def gaps(known: Factory, *metered: tuple[int, int]) -> list[tuple[str, int, int]]:
    """What the first two hours lack, in minutes."""
    read = {GPU: [(at(a), at(b)) for a, b in metered]}
    found = find_gaps(known, metered=read, since=at(0), until=at(120))
    minute = timedelta(minutes=1)
    return [(g.kind, (g.since - START) // minute, (g.until - START) // minute) for g in found]


def test_a_deployment_lacks_what_its_time_has_not() -> None:
    assert gaps(factory([lease(until=90)], [serving(10, 100)]), (0, 50)) == [
        ("PUE", 60, 90),
        ("energy readings", 50, 90),
        ("tariff in EUR", 30, 90),
        ("terms", 90, 100),
    ]


def test_prices_in_another_currency_are_none() -> None:
    dollars = factory([lease(until=60)], [serving(0, 60)], currency="USD")
    assert gaps(dollars, (0, 60)) == [("tariff in EUR", 0, 60)]


def test_a_lease_that_is_all_in_asks_for_no_power() -> None:
    assert gaps(factory([lease(all_in=True)], [serving(0, None)])) == []
    assert gaps(factory([lease(all_in=True)]), (0, 120)) == []


def test_energy_of_a_gpu_that_nobody_deployed_asks_for_its_price() -> None:
    known = factory([lease()], [serving(0, 30)])
    assert gaps(known, (0, 30), (40, 70)) == [("PUE", 60, 70), ("tariff in EUR", 40, 70)]
    # Of a deployment nothing is asked beyond its time, nor of a GPU of somebody else.
    assert gaps(factory([lease()], home="else"), (40, 70)) == []
    assert gaps(factory([lease(until=45)]), (40, 70)) == [("tariff in EUR", 40, 45)]


def test_a_deployment_without_named_gpus_is_a_gap_of_its_own() -> None:
    found = gaps(factory([lease()], [serving(0, 20, ())]))
    assert found == [("GPUs", 0, 20)]


def term(
    name: str, model: SiteCostModel, since: int, until: int, currency: str = "EUR"
) -> SiteTerm:
    return SiteTerm(name, currency, Period(at(since), at(until)), model)


def tax(*of: str) -> Percentage:
    return Percentage(PercentTerms(of=of, percent=Decimal(10)))


def bill(*of: str) -> Bill:
    return Bill(BillTerms(of=of, amount=Decimal(100)))


def site_gaps(*terms: SiteTerm) -> list[tuple[str, datetime, datetime]]:
    found: list[Gap] = find_site_gaps("site", terms, since=at(0), until=at(60))
    return [(gap.kind, gap.since, gap.until) for gap in found]


def test_a_bill_is_of_what_comes_before_it_in_its_own_currency() -> None:
    of_tax = term("bill", bill("tax", "electricity"), -60, 50)
    assert site_gaps(of_tax) == [("tax in EUR", at(0), at(50))]
    assert site_gaps(of_tax, term("tax", tax("electricity"), 10, 50)) == [
        ("tax in EUR", at(0), at(10))
    ]
    dollars = term("tax", tax("electricity"), 0, 60, "USD")
    assert site_gaps(of_tax, dollars) == [("tax in EUR", at(0), at(50))]
    # What is no earlier than itself covers nothing.
    assert site_gaps(of_tax, term("tax", bill("electricity"), 0, 60)) == [
        ("tax in EUR", at(0), at(50))
    ]


def test_of_another_time_nothing_is_asked() -> None:
    assert site_gaps(term("bill", bill("tax"), -60, 0)) == []
    assert site_gaps(term("bill", bill("tax"), 60, 90)) == []


def test_an_engine_that_nobody_serves_is_named_between_the_changes_of_deployments() -> None:
    keys = [EngineKey(1, "engine", "m", ""), EngineKey(2, "stray", "other", "")]
    found = find_unserved([serving(20, 40)], keys, since=at(0), until=at(60))
    assert found == [
        (1, at(0), at(20)),
        (2, at(0), at(20)),
        (2, at(20), at(40)),
        (1, at(40), at(60)),
        (2, at(40), at(60)),
    ]
