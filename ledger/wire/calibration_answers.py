"""Weights fitted to what deployments' meters and engines showed, as the report answers it."""

from typing import Literal

from ledger.wire.answer_fields import ClosedModel, Moment, Number

Term = Literal["idle", "uncached", "cache_read", "output", "context", "step"]


class FittedTerm(ClosedModel):
    """Power of a GPU at rest in mW, or microjoules of a kind of work, and between what it lies with
    99 %; and what part of all energy it took."""

    term: Term
    in_force: int
    value: int
    low: int
    high: int
    energy_percent: Number


class CalibrationRefusal(ClosedModel):
    """Why nothing is proposed, and what was seen."""

    reason: Literal[
        "too_few_slots",
        "no_step_counts",
        "no_phase_times",
        "mixed_phases",
        "more_than_time",
        "nothing_ran",
        "shared_gpus",
        "no_idle_slots",
        "unclaimed_tokens",
        "constant_mix",
        "fit_error",
        "holdout_error",
        "wide_interval",
    ]
    seen: str


class ProposedTerms(ClosedModel):
    """A bound of each term; null was not fitted."""

    idle: int | None
    uncached: int | None
    cache_read: int | None
    output: int | None
    context: int | None
    step: int | None


class ProposedEvidence(ClosedModel):
    """Of which slots, how well, and between what."""

    since: Moment
    until: Moment
    cut_off_id: int
    slots: int
    idle_slots: int
    fit_error_percent: Number
    holdout_error_percent: Number
    condition: Number
    low: ProposedTerms
    high: ProposedTerms


class ProposedWeightSet(ClosedModel):
    """A weight set as it may be entered."""

    deployment_id: str
    weight_set_id: str
    version: int
    source: Literal["calibrated", "phase_time"]
    uncached: int
    cache_read: int
    cache_write: int
    output: int
    context: int
    step: int
    idle_mw_per_gpu: int
    valid_from: Moment
    evidence: ProposedEvidence


class PhaseRate(ClosedModel):
    """What a GPU draws at rest and in each phase in mW, and between what it lies with 99 %."""

    phase: Literal["idle", "prefill", "decode"]
    mw: int
    low: int
    high: int


class DeploymentCalibration(ClosedModel):
    """What a deployment's slots say of its weights; `moved_percent` of all energy is on other kinds
    of work by the weights in force, and `drifted` says that this is too much. `rates` are those
    that weights by phase time come from."""

    deployment_id: str
    source: Literal["calibrated", "phase_time"]
    slots: int
    idle_slots: int
    fit_error_percent: Number
    holdout_error_percent: Number
    condition: Number
    rates: list[PhaseRate]
    terms: list[FittedTerm]
    refusals: list[CalibrationRefusal]
    moved_percent: Number | None
    drifted: bool
    proposal: ProposedWeightSet | None


class Calibrations(ClosedModel):
    """Weights fitted to the slots of deployments of an entity."""

    entity_id: str
    since: Moment
    until: Moment
    cut_off_id: int
    items: list[DeploymentCalibration]


class DriftedWeights(ClosedModel):
    """A weight set in force that says other than what the deployment took in its last checked hour:
    measured energy is not between `low_mj` and `high_mj`, by the set's own evidence. A calibration
    of the deployment proposes another."""

    entity_id: str
    deployment_id: str
    weight_set_id: str
    version: int
    since: Moment
    until: Moment
    slots: int
    measured_mj: int
    expected_mj: int
    low_mj: int
    high_mj: int
