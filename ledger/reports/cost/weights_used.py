"""By which weights figures were shared, who says so, and how far each may be off: their quality."""

from collections.abc import Iterable, Iterator, Mapping
from decimal import ROUND_HALF_EVEN, Decimal

from ledger.domain.cost.calibration import TERMS
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


def _uncertain(used: WeightsUsed) -> Iterator[tuple[str, str]]:
    """The further of its two bounds, in per cent of a term."""
    low, high = used.low or {}, used.high or {}
    for name in TERMS:
        value, ends = used.fitted.get(name), (low.get(name), high.get(name))
        known = [abs(end - value) for end in ends if end is not None and value]
        if value and known:
            part = ROUNDING.divide(Decimal(max(known) * 100), Decimal(value))
            yield name, plain(part.quantize(_TENTH, ROUND_HALF_EVEN, ROUNDING))
