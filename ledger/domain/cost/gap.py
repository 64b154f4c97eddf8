"""Names what a cost still lacks: periods without terms, tariff, PUE, readings or deployment.

A figure that needs them is refused with these names; nothing missing is ever worth zero.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain, pairwise

from ledger.domain.cost.deployment import Deployment, EngineKey, ServingDeployments
from ledger.domain.cost.factory import AssetTerms, DatedTerms, Factory, valid_at
from ledger.domain.cost.site_cost import SiteTerm
from ledger.wire.site_inputs import ENERGY

Interval = tuple[datetime, datetime]


@dataclass(frozen=True, slots=True, order=True)
class Gap:
    """What is missing, of what, in [since, until), and what to do about it."""

    kind: str
    subject: str
    since: datetime
    until: datetime
    remedy: str

    def __str__(self) -> str:
        since, until = (f"{moment:%Y-%m-%dT%H:%MZ}" for moment in (self.since, self.until))
        return f"{self.kind} of {self.subject} from {since} to {until}"


def find_gaps(
    factory: Factory, *, metered: Mapping[str, Sequence[Interval]], since: datetime, until: datetime
) -> list[Gap]:
    """What the cost of [since, until) lacks; `metered` has when each GPU's energy is known.

    A lease that is all-in asks for no power: neither readings nor tariff nor PUE.
    """
    whole = (since, until)
    own = [d for d in factory.deployments if d.entity_id == factory.entity.entity_id]
    gaps = list(
        chain.from_iterable(_deployment_gaps(d, factory, metered, clip(d, whole)) for d in own)
    )
    gaps += _loose_gaps(factory, metered)
    return sorted(set(gaps))


def find_site_gaps(
    facility_id: str, terms: Sequence[SiteTerm], *, since: datetime, until: datetime
) -> list[Gap]:
    """What a tax or bill of a site is of and has no cost of its currency, in [since, until)."""
    gaps: list[Gap] = []
    for term in terms:
        period = max(term.valid.start, since), min(term.valid.end, until)
        for name in term.of if period[0] < period[1] else ():
            covered = [
                (other.valid.start, other.valid.end)
                for other in terms
                if (other.name, other.currency) == (name, term.currency)
                and other.model.rank < term.model.rank
            ]
            remedy = f"enter it for that time, or mend what {term.name} is of"
            gaps += [
                Gap(f"{name} in {term.currency}", f"facility {facility_id}", a, b, remedy)
                for a, b in uncovered(period, covered)
                if name != ENERGY
            ]
    return gaps


def find_unserved(
    deployments: Sequence[Deployment],
    keys: Iterable[EngineKey],
    *,
    since: datetime,
    until: datetime,
) -> list[tuple[int, datetime, datetime]]:
    """(engine key, from, to) of the times in [since, until) in which no deployment serves what runs
    there, whoever asks; each lies between two moments at which deployments change."""
    named = {moment for d in deployments for moment in (d.valid_from, d.valid_to)}
    edges = sorted({since, until, *(m for m in named if m is not None and since < m < until)})
    known = list(keys)
    times: list[tuple[int, datetime, datetime]] = []
    for start, end in pairwise(edges):
        serving = ServingDeployments(valid_at(deployments, start))
        times += [(key.engine_key_id, start, end) for key in known if not serving.of(key, None)]
    return times


def clip(dated: DatedTerms, within: Interval) -> Interval:
    """The part of its validity inside `within`; empty where the end is not after the start."""
    since, until = within
    end = until if dated.valid_to is None else min(dated.valid_to, until)
    return max(dated.valid_from, since), end


def uncovered(period: Interval, covered: Iterable[Interval]) -> list[Interval]:
    """The parts of `period` outside every one of `covered`."""
    left: list[Interval] = []
    reached, end = period
    for since, until in sorted(covered):
        if since > reached:
            left.append((reached, min(since, end)))
        reached = max(reached, until)
        if reached >= end:
            break
    if reached < end:
        left.append((reached, end))
    return [(a, b) for a, b in left if a < b]


def _deployment_gaps(
    deployment: Deployment,
    factory: Factory,
    metered: Mapping[str, Sequence[Interval]],
    period: Interval,
) -> list[Gap]:
    terms = [a for a in factory.assets if a.asset_id == deployment.asset_id]
    gaps = [
        Gap("terms", f"asset {deployment.asset_id}", a, b, "enter the asset's purchase or lease")
        for a, b in uncovered(period, [clip(t, period) for t in terms])
    ]
    for asset in terms:
        part = clip(asset, period)
        if part[0] < part[1] and not asset.all_in:
            gaps += _site_gaps(asset, factory, part)
            gaps += _reading_gaps(deployment, metered, part)
    return gaps


def _loose_gaps(factory: Factory, metered: Mapping[str, Sequence[Interval]]) -> list[Gap]:
    """What prices the energy of the entity's GPUs at times when nobody deployed them."""
    gaps: list[Gap] = []
    for gpu, home in factory.homes.items():
        if home.entity_id != factory.entity.entity_id:
            continue
        users = [d for d in factory.deployments if gpu in d.gpu_uuids]
        terms = [a for a in factory.assets if a.asset_id == home.asset_id and not a.all_in]
        for span in metered.get(gpu, ()):
            for part in uncovered(span, [clip(d, span) for d in users]):
                for asset in terms:
                    period = clip(asset, part)
                    gaps += _site_gaps(asset, factory, period) if period[0] < period[1] else []
    return gaps


def _site_gaps(asset: AssetTerms, factory: Factory, period: Interval) -> list[Gap]:
    site = asset.facility_id
    uplifts = [clip(u, period) for u in factory.uplifts if u.facility_id == site]
    prices = [
        clip(price, period)
        for price in factory.prices
        if price.facility_id == site and price.currency == asset.currency
    ]
    gaps = [
        Gap("PUE", f"facility {site}", a, b, "enter the facility's PUE (1 if it has no uplift)")
        for a, b in uncovered(period, uplifts)
    ]
    gaps += [
        Gap(
            f"tariff in {asset.currency}",
            f"facility {site}",
            a,
            b,
            "enter or import the facility's power prices",
        )
        for a, b in uncovered(period, prices)
    ]
    return gaps


def _reading_gaps(
    deployment: Deployment, metered: Mapping[str, Sequence[Interval]], period: Interval
) -> list[Gap]:
    if not deployment.gpu_uuids:
        remedy = "name the GPUs of the deployment, so that their energy can be read"
        return [Gap("GPUs", f"deployment {deployment.deployment_id}", *period, remedy)]
    return [
        Gap("energy readings", f"GPU {gpu}", a, b, "send gpu.energy.v1 readings of this GPU")
        for gpu in deployment.gpu_uuids
        for a, b in uncovered(period, metered.get(gpu, ()))
    ]
