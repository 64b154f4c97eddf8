"""What a seed sends, counted by kind: what no seed sends, no run has shown to be safe."""

from collections import Counter
from collections.abc import Sequence

from ledger.wire.batch import COLUMNAR
from tests.torture.model import Delivery, Identity
from tests.torture.sending import START_US, Sent

COLUMNS = ("tl-encoding", COLUMNAR.encode())


def kinds_of(sent: Sequence[Sent], missing: set[tuple[str, int]]) -> dict[str, int]:
    """How often each kind is among the records, in the order they are sent."""
    said = [one.said for one in sent]
    again, others = _repeats(said)
    found = {
        "records": len(sent),
        "records of columns": sum(
            ("tl-encoding", COLUMNAR.encode()) in one.headers for one in sent
        ),
        "numbered batches": sum(one.place is not None for one in said),
        "events": sum(len(one.attempts) + one.bad for one in said),
        "events by id": sum(len(one.attempts) for one in said if one.place is None),
        "sent again": again,
        "other content": others,
        "unreadable": sum(one.bad for one in said),
        "numbers that never come": len(missing),
        "batches out of order": _out_of_order(said),
    }
    found["by clocks set back"] = sum(a.ended < START_US for one in said for a in one.attempts)
    poisons = Counter(f"poison: {kind}" for one in sent for kind in one.poisons)
    return found | _corrections(said) | dict(sorted(poisons.items()))


def _repeats(said: Sequence[Delivery]) -> tuple[int, int]:
    """Identities sent again as they were, and with other content than when they came first."""
    first: dict[Identity, tuple[int, ...]] = {}
    found: Counter[bool] = Counter()
    for one in said:
        for identity, content in one.claims():
            if identity in first:
                found[first[identity] == content] += 1
            first.setdefault(identity, content)
    return found[True], found[False]


def _out_of_order(said: Sequence[Delivery]) -> int:
    highest: dict[Identity, int] = {}
    late = 0
    for one in said:
        if one.place is not None:
            *lane, sequence = one.place
            late += int(sequence) < highest.get(tuple(lane), 0)
            highest[tuple(lane)] = max(int(sequence), highest.get(tuple(lane), 0))
    return late


def _corrections(said: Sequence[Delivery]) -> dict[str, int]:
    seen: set[Identity] = set()
    corrections = {a.identity for one in said for a in one.attempts if a.target is not None}
    found = Counter(
        dict.fromkeys(
            (
                "corrections",
                "corrections before their original",
                "corrections of corrections",
                "corrections of a source unheard of",
            ),
            0,
        )
    )
    for one in said:
        for attempt in one.attempts:
            if attempt.target is not None:
                found["corrections"] += 1
                found["corrections before their original"] += attempt.target not in seen
                found["corrections of corrections"] += attempt.target in corrections
                found["corrections of a source unheard of"] += attempt.target[0] == "u"
            seen.add(attempt.identity)
    return dict(found)
