"""All that waits of bound keys is read again in the end: whoever asks, it reaches nothing new."""

from datetime import UTC, datetime

from ledger.flows.metering.directory import DirectoryCache
from ledger.flows.metering.limits import IngestLimits
from ledger.flows.metering.replay import replay_quarantine
from ledger.store.connect import connect

# What waits for a file belongs to the books, whoever sent it: all files are back.
WAITING = """
SELECT quarantine_id, reason FROM quarantine q JOIN quarantine_raw w USING (quarantine_id)
 WHERE (w.binding IS NOT NULL OR reason = 'target_away')
   AND NOT EXISTS (SELECT FROM quarantine_replay r WHERE r.quarantine_id = q.quarantine_id)
 ORDER BY 1
"""


async def replay_refused(url: str) -> tuple[int, list[str]]:
    """How many items of bound keys were read again, and which of them are refused no more."""
    connection = await connect(url)
    try:
        waiting = {row[0]: row[1] for row in await connection.fetch(WAITING)}
        found = await replay_quarantine(
            connection,
            list(waiting),
            directory=DirectoryCache(),
            now=datetime.now(UTC),
            limits=IngestLimits(),
            leave_hopeless=True,
        )
    finally:
        await connection.close()
    again = {n: one for n, one in found.items() if waiting[n] != "target_away"}
    wrong = [
        f"{waiting[n]} of a bound key came back as {one.outcome}: {one.event_id}"
        for n, one in again.items()
        if one.outcome != "rejected"
    ]
    return len(again), wrong
