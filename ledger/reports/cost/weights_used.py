"""By which weights figures were shared, who says so, and how far each may be off: their quality."""

from collections.abc import Iterable, Iterator, Mapping
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction

from ledger.domain.cost.calibration import TERMS
from ledger.domain.cost.uncertainty import KindUncertainty
from ledger.domain.money import ROUNDING, plain
from ledger.store.cost.weight_checks import WeightsUsed

_TENTH = Decimal("0.1")


def weights_json(used: Iterable[WeightsUsed]) -> list[Mapping[str, object]]:
    """Each with what its terms may be off, in per cent; a term that was not fitted is left out."""
    return [
        {
            "deployment_id": each.deployment_id,
            "weight_set_id": each.weight_set_id,
            "version": each.version,
            "source": each.source,
            "since": each.valid_from,
            "until": each.valid_to,
            "uncertain": [{"term": name, "percent": percent} for name, percent in _uncertain(each)],
        }
        for each in used
    ]


def weight_lines(used: Iterable[WeightsUsed]) -> Iterator[str]:
    """A line of each."""
    for each in used:
        named = f", set {each.weight_set_id}" if each.weight_set_id else ""
        within = "".join(f", {name} ± {percent} %" for name, percent in _uncertain(each))
        yield (
            f"Weights of {each.deployment_id} from {each.valid_from:%FT%RZ} to"
            f" {each.valid_to:%FT%RZ}: version {each.version}, {each.source}{named}{within}"
        )


def uncertain_weights(used: Iterable[WeightsUsed]) -> dict[str, KindUncertainty]:
    """By what part each kind of token may weigh otherwise, by scope; None where weights that
    nobody fitted were in force."""
    uncertainties: dict[str, KindUncertainty] = {}
    for each in used:
        scope, mine = f"deployment:{each.deployment_id}", _of_kinds(each)
        before = uncertainties.get(scope, mine)
        if before is None or mine is None:
            uncertainties[scope] = None
        else:
            uncertainties[scope] = {kind: max(before[kind], part) for kind, part in mine.items()}
    return uncertainties


# Which terms an answer's tokens take, and what is written to a cache is fitted with.
_TERMS_OF = {
    "input_uncached": ("uncached",),
    "input_cache_read": ("cache_read",),
    "input_cache_write": ("uncached",),
    "output": ("output", "context", "step"),
}


def _of_kinds(used: WeightsUsed) -> KindUncertainty:
    if used.low is None or used.high is None:
        return None
    terms = dict(_parts(used))
    return {
        kind: max((terms.get(name, Fraction(0)) for name in names), default=Fraction(0))
        for kind, names in _TERMS_OF.items()
    }


def _uncertain(used: WeightsUsed) -> Iterator[tuple[str, str]]:
    """The further of its two bounds, in per cent of a term."""
    for name, part in _parts(used):
        percent = ROUNDING.divide(Decimal(part.numerator * 100), Decimal(part.denominator))
        yield name, plain(percent.quantize(_TENTH, ROUND_HALF_EVEN, ROUNDING))


def _parts(used: WeightsUsed) -> Iterator[tuple[str, Fraction]]:
    """The further of its two bounds, in parts of a term."""
    low, high = used.low or {}, used.high or {}
    for name in TERMS:
        value, ends = used.fitted.get(name), (low.get(name), high.get(name))
        known = [abs(end - value) for end in ends if end is not None and value]
        if value and known:
            yield name, Fraction(max(known), value)
