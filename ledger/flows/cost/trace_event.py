"""Follows one event to what it cost: its part of each slot in which it ran, window by window."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from ledger.domain.apportion import amount_of, units_of
from ledger.domain.cost.attempt_cost import CONTENT, AttemptPart, parts_of_line
from ledger.domain.cost.attempt_rows import ATTEMPT
from ledger.domain.cost.attempt_times import attempts_of
from ledger.domain.cost.share import COSTS, ENERGIES, Share
from ledger.domain.cost.window_cost import Serving, serving_in
from ledger.domain.errors import ConflictError, NotFoundError
from ledger.domain.money import total
from ledger.domain.period import EPOCH, MICROSECOND, Period, window_of, window_start, windows
from ledger.flows.cost.fill_unread import fill_unread
from ledger.flows.cost.read_facts import read_facts
from ledger.flows.cost.recall import recall_lines
from ledger.flows.metering.find_facts import find_standing_facts
from ledger.store.connect import CutOff
from ledger.store.cost import cost, evidence
from ledger.store.cost.evidence import KeyLine
from ledger.store.cost.factory import load_factory
from ledger.store.queries import Connection


@dataclass(frozen=True, slots=True)
class WindowPart:
    """What an attempt took of its key's line in one window of a scope."""

    line: KeyLine
    slot_s: int
    part: AttemptPart

    @property
    def slots(self) -> Iterator[tuple[datetime, int]]:
        """When each slot begins in which it ran, and what it weighs of it, out of WHOLE."""
        length = timedelta(seconds=self.slot_s)
        start, alike = self.line.window_start, max(self.part.alike, 1)
        return ((start + slot * length, part // alike) for slot, part in self.part.slots.items())


@dataclass(frozen=True, slots=True)
class EventCost:
    """What one event cost as known at a cut-off, by the scopes and windows in which it ran."""

    event_id: str
    source: str
    usage_key_id: int
    attempt: Mapping[str, int]
    cut_off: CutOff
    parts: Sequence[WindowPart]

    @property
    def taken(self) -> Share:
        """All of it."""
        return sum((each.part.one() for each in self.parts), Share())


async def trace_event(
    connection: Connection, event_id: str, *, source: str | None, cut_off: CutOff
) -> EventCost:
    """What an event cost; NotFoundError where there is none or it has no cost yet, ConflictError
    where several sources have one of this id."""
    stored = await evidence.find_events(connection, event_id, source=source)
    if not stored:
        raise NotFoundError(f"There is no event {event_id}.", "Send its id as it was sent.")
    if len(stored) > 1:
        raise ConflictError(
            f"{len(stored)} sources have an event {event_id}.",
            f"Say of which: --source {' or '.join(each.source for each in stored)}.",
        )
    (at,) = stored
    facts = await find_standing_facts(connection, [(at.batch_seq, at.ordinal)])
    if facts.is_empty():
        raise NotFoundError(f"Event {event_id} is no usage.", "Trace one of usage.", event_id)
    usage_key_id = int(facts["usage_key_id"][0])
    attempt = dict(zip(ATTEMPT, attempts_of(facts)[0].tolist(), strict=True))
    ran = windows(Period(window_start(_moment(attempt, "start")), _moment(attempt, "end")))
    entities = await cost.list_cost_entities(connection, entity_id=None)
    asked = _Asked([entity.entity_id for entity in entities], list(ran), cut_off.batch_seq)
    await asked.recall(connection)
    async with connection.transaction(isolation="repeatable_read"):
        lines = await asked.find_lines(connection, usage_key_id)
        traced = [await _trace_line(connection, line, usage_key_id, attempt) for line in lines]
    parts = [part for part in traced if part is not None]
    if not parts:
        raise NotFoundError(
            f"No cost of event {event_id} is known.",
            "Allocate first, or enter the deployment that served it.",
            event_id,
        )
    return EventCost(event_id, at.source, usage_key_id, attempt, cut_off, parts)


def _moment(attempt: Mapping[str, int], name: str) -> datetime:
    return EPOCH + attempt[name] * MICROSECOND


@dataclass(frozen=True, slots=True)
class _Asked:
    """In which windows of which entities lines are looked for, as known at a cut-off."""

    entity_ids: Sequence[str]
    windows: Sequence[datetime]
    batch_seq: int

    async def recall(self, connection: Connection) -> None:
        """Have lines of these windows that were let go."""
        periods = [window_of(window) for window in self.windows]
        for entity_id in self.entity_ids:
            await recall_lines(connection, entity_id, periods, self.batch_seq)

    async def find_lines(self, connection: Connection, usage_key_id: int) -> list[KeyLine]:
        """Those of a usage key."""
        return await evidence.find_key_lines(
            connection,
            usage_key_id,
            entity_ids=self.entity_ids,
            windows=self.windows,
            batch_seq=self.batch_seq,
        )


async def _trace_line(
    connection: Connection, line: KeyLine, usage_key_id: int, attempt: Mapping[str, int]
) -> WindowPart | None:
    """Its part of a line, from the inputs and facts that the line was made of."""
    engines = await find_engines(connection, line)
    content = tuple(attempt[name] for name in CONTENT)
    for part in parts_of_line(engines, usage_key_id, share_of(line)):
        if part.content == content:
            return WindowPart(line, engines[0].deployment.slot_s, part)
    return None


async def find_engines(connection: Connection, line: KeyLine) -> list[Serving]:
    """What a line's window was allocated from, engine by engine; in one snapshot."""
    window, seq = line.window_start, line.known_batch_seq
    (entity,) = await cost.list_cost_entities(connection, entity_id=line.entity_id)
    until = window + MICROSECOND
    factory = await load_factory(connection, entity, since=window, until=until, batch_seq=seq)
    gpus = [gpu for d in factory.deployments if d.scope == line.scope for gpu in d.gpu_uuids]
    asked = sorted({*gpus, *factory.beside})
    read_of = await read_facts(connection, [window], factory, asked, seq)
    named = {d.deployment_id for d in factory.deployments if d.scope == line.scope}
    facts = await fill_unread(connection, factory, read_of, seq, named)
    every = serving_in(factory, window, facts[window])
    return [each for each in every if each.scope.name == line.scope]


def share_of(line: KeyLine) -> Share:
    """A line's energy and cost, in whole numbers."""
    energies = (getattr(line, name) for name in ENERGIES)
    return Share(*energies, *(units_of(getattr(line, name)) for name in COSTS))


def to_json(traced: EventCost) -> dict[str, object]:
    """Everything, energy in integer mJ; what it weighs of a slot as a part of `whole`."""
    return {
        "event": traced.event_id,
        "source": traced.source,
        "usage_key": str(traced.usage_key_id),
        "cut_off_id": traced.cut_off.cut_off_id,
        "currency": traced.parts[0].line.currency,
        "attempt": dict(traced.attempt),
        **_amounts(traced.taken),
        "windows": [
            {
                "scope": each.line.scope,
                "since": each.line.window_start,
                "weight_version": each.line.weight_version,
                "alike": each.part.alike,
                "slots": [{"since": at, "part": str(part)} for at, part in each.slots],
                "line": _amounts(share_of(each.line)),
                **_amounts(each.part.one()),
            }
            for each in traced.parts
        ],
    }


def _amounts(share: Share) -> dict[str, object]:
    named = dict(zip((*ENERGIES, *COSTS), share.parts(), strict=True))
    costs = {name: amount_of(named[name]) for name in COSTS}
    return {**named, **costs, "cost": total(list(costs.values()))}
