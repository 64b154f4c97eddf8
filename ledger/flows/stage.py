"""What a run of a stage did."""

from dataclasses import dataclass

from ledger.store.connect import CutOff


@dataclass(frozen=True, slots=True)
class StageReport:
    """How many windows a stage looked at, as known at which cut-off, and how many rows it wrote."""

    stage: str
    cut_off: CutOff
    windows: int
    rows_written: int
