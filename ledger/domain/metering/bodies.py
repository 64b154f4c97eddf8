"""Lets bodies go once they are decoded: larger batches cost less, and bodies are what is large."""

import numpy as np

from ledger.domain.metering.directory import Directory
from ledger.domain.metering.fact import Kind
from ledger.domain.metering.judge import form_of, senders
from ledger.domain.metering.prepare import Prepared


def let_bodies_go(prepared: Prepared, directory: Directory | None) -> None:
    """Keep the bytes of refused rows, and of those that may be refused by what a directory says;
    all of them of a record that comes alone.

    Columns stay, and an event of theirs is written as a line only when it is asked for: of the
    first batches of a process, which knows no source yet, all may be refused, and hardly one is.
    What decides later is who may write, the form of a source, and whether a correction names one.
    An original may be put aside as well, where a correction that came before it cannot be read now:
    that fails for want of its bytes, and what fails together is tried again record by record.
    """
    if len(prepared.records) == 1:
        return
    doubtful = [
        record
        for source, record in senders(prepared)
        if record not in prepared.items.batches
        and not _is_settled(prepared, source, record, directory)
    ]
    rows = set(np.flatnonzero(np.isin(prepared.items.owners, doubtful)).tolist())
    usage = prepared.usage
    rows.update(usage.filter(usage["kind"] == Kind.REPLACEMENT)["row"])
    prepared.items.let_go(sorted(rows | prepared.rejects.keys()))


def _is_settled(prepared: Prepared, source: str, record: int, directory: Directory | None) -> bool:
    known = None if directory is None else directory.sources.get(source)
    return (
        prepared.records[record].permission is None
        and known is not None
        and known.form == form_of(prepared, record)
    )
