"""Weights fitted to what deployments' own meters and engines showed: proposed or refused by name,
and never put in force by anybody but who enters the set."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction

from ledger.domain.cost.calibration import (
    SHARED_GPUS,
    TERMS,
    WeightFit,
    WeightRefusal,
    calibrate,
    nothing_fitted,
)
from ledger.domain.cost.deployment import Deployment
from ledger.domain.cost.factory import Factory, valid_at
from ledger.domain.cost.jackknife import Interval
from ledger.domain.cost.phase_time import weigh_phases
from ledger.domain.errors import InvalidInputError
from ledger.domain.metering.reconcile import STEPS
from ledger.domain.period import WINDOW, Period, day_before, window_start, windows
from ledger.reports.cost.margin import find_entity
from ledger.reports.report import (
    Asked,
    PeriodReport,
    ReportOption,
    ReportScope,
    ReportTable,
    ScopedReport,
    Shown,
    names_of,
)
from ledger.store.cost.factory import load_factory
from ledger.store.cost.slots import PHASE_SECONDS, read_slots
from ledger.store.cost.work import Work, read_work
from ledger.store.queries import Connection
from ledger.store.within import Within
from ledger.wire.calibration_answers import Calibrations
from ledger.wire.input_fields import WHOLE_MAX

# Every reading of it is looked at.
LONGEST = timedelta(days=2)
# Weights in force that put more of the energy on other kinds of work have drifted.
MOVED_MAX = Fraction(2, 100)
COLUMNS = ("term", "in force", "fitted", "from", "to", "% of energy")
# What weights come from, as their sets say it, and the counters between whose readings slots lie.
SOURCES = {"calibrated": STEPS, "phase_time": PHASE_SECONDS}


@dataclass(frozen=True, slots=True)
class Calibrated:
    """What a deployment's slots say of its weights, beside those in force at the end."""

    deployment: Deployment
    fit: WeightFit
    in_force: Mapping[str, int]

    @property
    def refusals(self) -> Sequence[WeightRefusal]:
        """Why nothing is proposed; empty where something is."""
        return self.fit.refusals

    @property
    def moved(self) -> Fraction | None:
        """The part of all energy that the weights in force put on another kind of work than those
        fitted; None where that cannot be told."""
        work = {name: term for name, term in self.fit.terms.items() if name != "idle"}
        unit = {name: _over(term.share, Fraction(term.value)) for name, term in work.items()}
        now = {name: self.in_force[name] * unit[name] for name in work}
        fitted = sum((term.share for term in work.values()), Fraction(0))
        if not fitted or not sum(now.values()):
            return None
        scale = Fraction(fitted, sum(now.values(), Fraction(0)))
        apart = sum(abs(now[name] * scale - term.share) for name, term in work.items())
        return Fraction(apart, 2)

    @property
    def has_drifted(self) -> bool:
        """Whether weights in force are to be replaced, if anybody agrees: not those that tell more
        kinds of work apart."""
        if self.fit.source == "phase_time" and self.deployment.weight_source == "calibrated":
            return False
        return not self.refusals and (self.moved is None or self.moved > MOVED_MAX)


@dataclass(frozen=True, slots=True)
class CalibrationReport(ScopedReport):
    """Deployments of an entity and what their slots of [since, until) say of their weights."""

    deployments: Sequence[Calibrated]

    def proposal(self, each: Calibrated) -> dict[str, object] | None:
        """The weight set to enter, if somebody agrees; None where it is refused."""
        if each.refusals:
            return None
        terms = each.fit.terms
        value = {name: terms[name].value if name in terms else 0 for name in TERMS}
        return {
            "deployment_id": each.deployment.deployment_id,
            "weight_set_id": f"{each.deployment.deployment_id}-{self.until:%Y%m%dT%H%MZ}",
            "version": each.deployment.weight_version + 1,
            "source": each.fit.source,
            "uncached": value["uncached"],
            "cache_read": value["cache_read"],
            "cache_write": value["uncached"],
            "output": value["output"],
            "context": value["context"],
            "step": value["step"],
            "idle_mw_per_gpu": value["idle"],
            "valid_from": self.until,
            "evidence": self._evidence(each.fit),
        }

    def _evidence(self, fit: WeightFit) -> dict[str, object]:
        return {
            "since": self.since,
            "until": self.until,
            "cut_off_id": self.cut_off.cut_off_id,
            "slots": fit.slots,
            "idle_slots": fit.idle_slots,
            **_quality(fit),
            "low": {name: _bound(fit, name, "low") for name in TERMS},
            "high": {name: _bound(fit, name, "high") for name in TERMS},
        }


def _bound(fit: WeightFit, name: str, side: str) -> int | None:
    term = fit.terms.get(name)
    return None if term is None else min(int(getattr(term, side)), WHOLE_MAX)


def _over(part: Fraction, whole: Fraction) -> Fraction:
    return Fraction(part, whole) if whole else Fraction(0)


async def calibration_report(
    connection: Connection,
    scope: ReportScope,
    *,
    names: Sequence[str],
    held: Mapping[str, int],
    source: str,
) -> CalibrationReport:
    """Calibrations of an entity's deployments, or of those named, by what weights come from.

    InvalidInputError for a time that is no whole quarter hours, or more than two days.
    """
    entity_id, since, until = scope["entity_id"], scope["since"], scope["until"]
    cut_off = scope["cut_off"]
    _check(since, until)
    entity = await find_entity(connection, entity_id)
    within: Within = {"since": since, "until": until, "batch_seq": cut_off.batch_seq}
    factory = await load_factory(connection, entity, **within)
    mine = [d for d in valid_at(factory.deployments, until - WINDOW) if d.entity_id == entity_id]
    unknown = sorted({*names} - {deployment.deployment_id for deployment in mine})
    if unknown:
        raise InvalidInputError(
            f"No deployment {', '.join(unknown)} of {entity_id} runs at {until.isoformat()}.",
            "Name deployments of the end of the period.",
            "deployment",
        )
    period = Period(since, until)
    work = await read_work(connection, list(windows(period)), cut_off.batch_seq)
    fitting = _Fitting(period, source, held, cut_off.batch_seq)
    calibrated = [
        await _calibrated(connection, factory, deployment, work, fitting)
        for deployment in mine
        if not names or deployment.deployment_id in names
    ]
    return CalibrationReport(entity_id, since, until, cut_off, calibrated)


def _check(since: datetime, until: datetime) -> None:
    if window_start(since) != since or window_start(until) != until or since >= until:
        raise InvalidInputError(
            f"{since.isoformat()} to {until.isoformat()} is no whole quarter hours.",
            "Give a start and an end on quarter hours.",
        )
    if until - since > LONGEST:
        raise InvalidInputError(
            f"{since.isoformat()} to {until.isoformat()} is more than two days.",
            "Ask for a day or two of varied load.",
        )


@dataclass(frozen=True, slots=True)
class _Fitting:
    """By what, and of what time, weights are fitted."""

    period: Period
    source: str
    held: Mapping[str, int]
    batch_seq: int


async def _calibrated(
    connection: Connection, factory: Factory, deployment: Deployment, work: Work, fitting: _Fitting
) -> Calibrated:
    weights = deployment.weights
    in_force = {name: int(getattr(weights, name)) for name in TERMS if name != "idle"}
    in_force |= {"idle": deployment.idle_mw_per_gpu or 0}
    if deployment.shares_gpus:
        return Calibrated(deployment, nothing_fitted(0, 0, [SHARED_GPUS], fitting.source), in_force)
    read = await read_slots(
        connection,
        factory,
        deployment,
        fitting.period,
        work,
        by=SOURCES[fitting.source],
        batch_seq=fitting.batch_seq,
    )
    if fitting.source == "phase_time":
        fit = weigh_phases(read.phases, read.tokens)
    else:
        fit = calibrate(read.slots, read.tokens, fitting.held)
    return Calibrated(deployment, fit, in_force)


def held_terms(text: str) -> dict[str, int]:
    """Terms that are known from elsewhere, as `cache_read=400,context=20000`."""
    held: dict[str, int] = {}
    for pair in names_of(text):
        name, _, value = pair.partition("=")
        if name not in TERMS or not value.isdecimal() or int(value) > WHOLE_MAX:
            raise InvalidInputError(
                f"hold: found {pair!r}.", f"Send a term of {', '.join(TERMS)} = a whole number."
            )
        held[name] = int(value)
    return held


def asked_source(text: str) -> str:
    """What weights are to come from."""
    if text not in SOURCES:
        raise InvalidInputError(
            f"source: found {text!r}.", f"Send {' or '.join(SOURCES)}.", "source"
        )
    return text


async def _read(connection: Connection, scope: ReportScope, asked: Asked) -> CalibrationReport:
    names, held = names_of(asked.options["deployment"]), held_terms(asked.options["hold"])
    source = asked_source(asked.options["source"])
    if held and source == "phase_time":
        raise InvalidInputError(
            "hold: weights by phase time have no terms to hold.", "Leave it out.", "hold"
        )
    return await calibration_report(connection, scope, names=names, held=held, source=source)


def _to_json(report: CalibrationReport) -> Mapping[str, object]:
    return {
        **report.of_what(),
        "items": [
            {
                "deployment_id": each.deployment.deployment_id,
                "source": each.fit.source,
                "slots": each.fit.slots,
                "idle_slots": each.fit.idle_slots,
                **_quality(each.fit),
                "rates": [
                    {"phase": name, "mw": rate.value, "low": rate.low, "high": rate.high}
                    for name, rate in each.fit.rates.items()
                ],
                "terms": [_term(each, name, term) for name, term in each.fit.terms.items()],
                "refusals": [
                    {"reason": refusal.reason, "seen": refusal.seen} for refusal in each.refusals
                ],
                "moved_percent": None if each.moved is None else _percent(each.moved),
                "drifted": each.has_drifted,
                "proposal": report.proposal(each),
            }
            for each in report.deployments
        ],
    }


def _term(each: Calibrated, name: str, term: Interval) -> dict[str, object]:
    return {
        "term": name,
        "in_force": each.in_force[name],
        "value": term.value,
        "low": term.low,
        "high": term.high,
        "energy_percent": _percent(term.share),
    }


def _quality(fit: WeightFit) -> dict[str, str]:
    return {
        "fit_error_percent": _percent(fit.fit_error),
        "holdout_error_percent": _percent(fit.holdout_error),
        "condition": _thousandths(fit.condition),
    }


def _percent(part: Fraction) -> str:
    return _thousandths(part * 100)


def _thousandths(value: Fraction) -> str:
    whole, rest = divmod(round(value * 1_000), 1_000)
    return f"{whole}.{rest:03}".rstrip("0").rstrip(".")


def _show(report: CalibrationReport, _asked: Asked) -> Iterator[Shown]:
    for each in report.deployments:
        rows = [
            (name, each.in_force[name], term.value, term.low, term.high, _percent(term.share))
            for name, term in each.fit.terms.items()
        ]
        title = f"Weights of {each.deployment.deployment_id}, {each.fit.source}, mW and µJ"
        yield ReportTable(title, COLUMNS, rows, numbers=5, first=("term", "fitted", "in force"))
        said = _quality(each.fit)
        yield (
            f"{each.fit.slots} slots, {each.fit.idle_slots} at rest; misses"
            f" {said['fit_error_percent']} % of a slot, {said['holdout_error_percent']} % of such"
            f" left out; condition {said['condition']}"
        )
        yield from _verdict(report, each)


def _verdict(report: CalibrationReport, each: Calibrated) -> Iterator[str]:
    for refusal in each.refusals:
        yield f"Refused, {refusal.reason}: {refusal.seen}"
    if not each.refusals:
        moved = "" if each.moved is None else f": {_percent(each.moved)} % of the energy moves"
        said = "To be replaced" if each.has_drifted else "May stay as they are"
        yield f"{said}{moved}. The set to enter, if you agree, is `proposal` in --json."
    if not report.deployments:
        yield "Nothing is deployed."


CALIBRATION = PeriodReport(
    "calibration",
    "/v1/calibrations",
    "Weights of deployments fitted to their own slots, proposed or refused by name.\n\n"
    "Of whole quarter hours, two days at most; yesterday where no period is said. Nothing is put in"
    " force: `proposal` is the weight set to enter, with its evidence, if somebody agrees.",
    Calibrations,
    _read,
    _to_json,
    _show,
    options=(
        ReportOption("deployment", "", "Deployments, parted by commas; all where nothing is said."),
        ReportOption(
            "source",
            "calibrated",
            "calibrated by tokens and steps, or phase_time: by the seconds that engines worked on"
            " prompts and on answers.",
        ),
        ReportOption(
            "hold", "", "Terms known from elsewhere and not fitted: cache_read=400,context=20000."
        ),
    ),
    usual=day_before,
)
