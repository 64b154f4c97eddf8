"""An amount for so much time: rent, staff, network, licences, a fixed monthly fee."""

from datetime import timedelta
from fractions import Fraction
from itertools import pairwise
from typing import ClassVar

from ledger.domain.cost.site_models.span import SiteSpan, units
from ledger.domain.period import HOUR, MICROSECOND, Period, day_starts, intersect
from ledger.wire.site_inputs import StandingTerms

_HOUR_US = HOUR // MICROSECOND


def _days(span: SiteSpan, elapsed: Period) -> Fraction:
    edges = day_starts(elapsed.start, elapsed.end + timedelta(days=1), span.zone_name)
    days = (Period(a, b) for a, b in pairwise(edges))
    parts = ((intersect(day, elapsed), day) for day in days)
    return sum(
        (Fraction(part.microseconds, day.microseconds) for part, day in parts if part), Fraction(0)
    )


def _quantity(per: str, span: SiteSpan, elapsed: Period) -> Fraction:
    if per == "day":
        return _days(span, elapsed)
    if per == "month":
        return Fraction(elapsed.microseconds, span.month.microseconds)
    if per == "gpu_hour":
        return Fraction(span.use.gpu_microseconds(elapsed), _HOUR_US)
    return Fraction(elapsed.microseconds, _HOUR_US)


class Standing:
    """`amount` times the hours, days, months or GPU hours that are over, times the share."""

    rank: ClassVar[int] = 0
    by_month: ClassVar[bool] = True

    def __init__(self, terms: StandingTerms) -> None:
        self._each = Fraction(terms.amount) * Fraction(terms.share)
        self._per = terms.per

    def up_to(self, span: SiteSpan) -> int:
        """See `SiteCostModel`."""
        if span.elapsed is None:
            return 0
        return units(self._each * _quantity(self._per, span, span.elapsed))
