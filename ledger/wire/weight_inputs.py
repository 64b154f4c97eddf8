"""What each kind of work takes at a deployment from when to when, who says so, and by what."""

from typing import Literal, Self

from pydantic import model_validator

from ledger.wire.errors import problem_at
from ledger.wire.input_fields import DatedInstant, Identifier, Positive, Price, Whole
from ledger.wire.inputs import DatedInput, InputModel

WEIGHTS = ("uncached", "cache_read", "cache_write", "output", "context", "step")


class FittedTerms(InputModel):
    """Power of a GPU at rest in mW, and microjoules of the others; null was not fitted."""

    idle: Whole | None = None
    uncached: Whole | None = None
    cache_read: Whole | None = None
    output: Whole | None = None
    context: Whole | None = None
    step: Whole | None = None


class CalibrationEvidence(InputModel):
    """Of which slots weights were fitted, as known at a cut-off, by how much these and such that
    were left out are missed, and between what each term lies with 99 %."""

    since: DatedInstant
    until: DatedInstant
    cut_off_id: Positive
    slots: Positive
    idle_slots: Whole
    fit_error_percent: Price
    holdout_error_percent: Price
    condition: Price
    low: FittedTerms
    high: FittedTerms


class NewWeightSet(DatedInput):
    """What a token of each kind takes at a deployment, relative to each other: such as microjoules;
    in place of the weights it was declared with.

    `context` is of an output token for each 1,000 tokens it looks back on; `step` is of a step of
    the engine, shared by all who write in it. At rest a GPU draws `idle_mw_per_gpu`, where that is
    said, else what the deployment says. What was calibrated comes with its evidence, and what goes
    by the time of phases may. Where it did and says what GPUs draw at rest, `unread` time, of which
    no meter says anything, is estimated by these weights and what ran, unless it is to be left out.
    """

    deployment_id: Identifier
    weight_set_id: Identifier
    version: Positive
    source: Literal["declared", "phase_time", "calibrated"] = "declared"
    uncached: Whole
    cache_read: Whole
    cache_write: Whole
    output: Whole
    context: Whole = 0
    step: Whole = 0
    idle_mw_per_gpu: Whole | None = None
    evidence: CalibrationEvidence | None = None
    unread: Literal["estimated", "left_out"] = "estimated"

    @model_validator(mode="after")
    def _check_weights(self) -> Self:
        if not any(getattr(self, name) for name in WEIGHTS):
            raise problem_at("output", 0, "send a weight above 0: of nothing nothing can be shared")
        if self.evidence is None and self.source == "calibrated":
            raise problem_at("evidence", None, "send what it was fitted by with source calibrated")
        if self.evidence is not None and self.source == "declared":
            raise problem_at("evidence", self.evidence, "leave it out with source declared")
        return self
