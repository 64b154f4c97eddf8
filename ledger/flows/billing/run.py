"""Issues all invoices of an entity's billing periods: a few hundred in each transaction.

What went out stays when a run is broken off, and the next goes on behind it. Who cannot be invoiced
is parked with the reason and holds up nobody; each run tries what is parked again.
"""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from functools import partial
from typing import TypeAlias

from ledger.domain.author import Author
from ledger.domain.errors import ConflictError, LedgerError, NotFoundError, UnavailableError
from ledger.domain.money import total
from ledger.domain.parked import Failed, Parked, park, reason_of
from ledger.domain.period import DAY, Period, local_day
from ledger.flows.billing.draft_invoice import (
    InvoiceDraft,
    Moment,
    cut_off_with_charges,
    draft_invoices,
    draft_overcharges,
)
from ledger.flows.billing.draw import draw
from ledger.flows.billing.issue import (
    NO_EXCEPTION,
    PARKED_AS,
    HeldBy,
    IssuedInvoice,
    IssueRules,
    Ready,
    find_held_by,
    issue_ready,
    make_ready,
)
from ledger.flows.books.book_revenue import book_revenue
from ledger.flows.other_process import other_process
from ledger.flows.parts import by_count
from ledger.flows.pricing.rate import rate
from ledger.flows.reference.supersede import keep_write, writing
from ledger.flows.side_by_side import side_by_side
from ledger.store import parties, stage_runs, standing
from ledger.store.billing.draft import list_billed_periods, list_due_subscriptions, list_zones
from ledger.store.billing.receivables import lock_receivables
from ledger.store.connect import draw_batch_seq
from ledger.store.passing import passes_by_itself
from ledger.store.queries import Connection

# From so many sets on another process is worth what it takes to start.
SETS_APART = 12
# So many are drafted and issued in one transaction: others wait for no longer than that takes.
TOGETHER = 500
# A day begins somewhere up to so long before and after it does in UTC.
ZONES = timedelta(days=2)


@dataclass(frozen=True, slots=True)
class RunTotal:
    """What went out in one currency."""

    currency: str
    invoices: int
    net_total: Decimal
    payable: Decimal


@dataclass(frozen=True, slots=True)
class InvoiceRun:
    """What came of a run: what went out, how many periods are not over, and who is parked, by
    subscription."""

    entity_id: str
    issued: int
    not_over: int
    totals: tuple[RunTotal, ...]
    parked: tuple[Parked, ...]


Seal = Callable[[InvoiceRun], Awaitable[None]]
# Told after each batch how many subscriptions were looked at.
Progress = Callable[[int], None]
# Ids of subscriptions.
Names: TypeAlias = Sequence[str]


def no_progress(looked_at: int, /) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True)
class RunAsk:
    """Whose invoices of which billing periods are to go out now, who says so, what that lets pass,
    which customers' go out though they are unusual, how many in one transaction, and from how many
    sets of these on another process does some."""

    entity_id: str
    moment: Moment
    now: datetime
    author: Author
    allow: IssueRules = NO_EXCEPTION
    release: frozenset[str] = frozenset()
    together: int = TOGETHER
    apart_from: int = SETS_APART


@dataclass(frozen=True, slots=True)
class _Run:
    connection: Connection
    ask: RunAsk


@dataclass(slots=True)
class _Outcome:
    """What came of some subscriptions: what went out, and what did not, why."""

    issued: list[IssuedInvoice] = field(default_factory=list)
    not_over: set[str] = field(default_factory=set)
    parked: list[Parked] = field(default_factory=list)

    def add(self, other: "_Outcome") -> None:
        self.issued += other.issued
        self.not_over |= other.not_over
        self.parked += other.parked


@dataclass(slots=True)
class _Sorted:
    """Drafts of a batch: what can go out, and what cannot, why."""

    ready: list[Ready] = field(default_factory=list)
    failed: list[Failed] = field(default_factory=list)
    not_over: set[str] = field(default_factory=set)


async def run_invoices(
    connection: Connection,
    ask: RunAsk,
    *,
    progress: Progress = no_progress,
    seal: Seal | None = None,
) -> InvoiceRun:
    """Issue the invoices of the billing periods that hold the moment, of every subscription of an
    entity that has something to bill and is not billed, and credit notes of what no invoice to come
    takes off; `seal` keeps what came of it.

    Usage due is rated and booked first. Call it outside a transaction. NotFoundError without such
    an entity; UnavailableError where a batch older than charges stays open.
    """
    entity_id = ask.entity_id
    if await parties.find_entity(connection, entity_id) is None:
        raise NotFoundError(f"There is no entity {entity_id}.", "List them to see their ids.")
    await rate(connection, entity_id=entity_id, now=ask.now)
    await draw(connection, entity_id=entity_id, now=ask.now)
    await book_revenue(connection, entity_id=entity_id, now=ask.now)
    names = await _list_due(connection, ask)
    # One run of an entity at a time: a second finds what the first issued.
    async with stage_runs.running(connection, f"{PARKED_AS}:{entity_id}"):
        done = _result(ask, await _issue_all(_Run(connection, ask), names, progress))
    if seal is not None:
        async with writing(connection):
            await seal(done)
    return done


async def _list_due(connection: Connection, ask: RunAsk) -> Names:
    begin, zones = _begin_of(ask.moment), await list_zones(connection, entity_id=ask.entity_id)
    return await list_due_subscriptions(
        connection,
        entity_id=ask.entity_id,
        days={name: _day_in(name, ask.moment) for name in zones},
        since=begin - ZONES,
        until=begin + ZONES,
        at=ask.now,
        parked_as=PARKED_AS,
    )


def _day_in(zone_name: str, moment: Moment) -> tuple[datetime, datetime]:
    if isinstance(moment, datetime):
        return moment, moment
    day = local_day(moment, zone_name)
    return day.start, day.end


async def _issue_all(run: _Run, names: Names, progress: Progress) -> _Outcome:
    """In two processes where they are many: half of the work is Python's."""
    came = _Outcome()

    async def keep(issue: Callable[[Names], Awaitable[_Outcome]], chunk: Names) -> None:
        came.add(await issue(chunk))
        progress(len(chunk))

    here = partial(keep, partial(_attempt, run.ask, run.connection))
    chunks = list(by_count(names, run.ask.together))
    if len(chunks) < run.ask.apart_from:
        await side_by_side(chunks, [here])
        return came
    stage = f"{PARKED_AS}:{run.ask.entity_id}"
    async with other_process(run.connection, stage, partial(_attempt, run.ask)) as issue_there:
        await side_by_side(chunks, [here, partial(keep, issue_there)])
    return came


def _begin_of(moment: Moment) -> datetime:
    if isinstance(moment, datetime):
        return moment
    return datetime.combine(moment, time(), tzinfo=UTC)


async def _attempt(ask: RunAsk, connection: Connection, names: Names) -> _Outcome:
    """Issue these; what fails is told from what does not by halving."""
    run = _Run(connection, ask)
    try:
        return await _issue(run, names)
    except Exception as error:
        if passes_by_itself(error) or isinstance(error, UnavailableError):
            raise
        if len(names) == 1:
            begin = _begin_of(ask.moment)
            failed = Failed(names[0], begin, begin + DAY, reason_of(error))
            async with connection.transaction():
                return _Outcome(parked=await _park(run, (), (), [failed]))
    half = len(names) // 2
    came = await _attempt(ask, connection, names[:half])
    came.add(await _attempt(ask, connection, names[half:]))
    return came


async def _issue(run: _Run, names: Names) -> _Outcome:
    connection, entity_id = run.connection, run.ask.entity_id
    async with writing(connection):
        # Nothing is voided while it is drafted; what is issued beside it is another's.
        await lock_receivables(connection, entity_id, shared=True)
        cut_off = await cut_off_with_charges(connection, entity_id)
        now, allow = run.ask.now, run.ask.allow
        drafts = await draft_invoices(
            connection,
            names,
            run.ask.moment,
            entity_id=entity_id,
            cut_off=cut_off,
            now=now,
            billed_too=False,
        )
        back = await draft_overcharges(
            connection, names, entity_id=entity_id, cut_off=cut_off, now=now
        )
        # Who is not on a card at the moment has nothing to bill then.
        there = [draft for draft in drafts.values() if isinstance(draft, InvoiceDraft)]
        held = await find_held_by(connection, entity_id, run.ask.author)
        told = _sort(run, there, held, allow)
        given = _sort(run, back, held, replace(allow, supplementary=True, unpriced=True))
        parked = await _park(run, names, [*back, *there], [*given.failed, *told.failed])
        came = _Outcome(not_over=told.not_over, parked=parked)
        for ready in (each.ready for each in (given, told) if each.ready):
            came.issued += await issue_ready(connection, ready, now=now, author=run.ask.author)
            await _keep_releases(run, ready)
        return came


async def _keep_releases(run: _Run, issued: Sequence[Ready]) -> None:
    """Who let an invoice go out that was held, and why."""
    for draft in (ready.draft for ready in issued):
        if draft.unusual is not None:
            await keep_write(
                run.connection,
                run.ask.author,
                batch_seq=await draw_batch_seq(run.connection),
                action="release_invoice",
                subject=draft.agreement.customer_id,
                detail={"period_start": draft.period.start, "unusual": draft.unusual},
            )


def _sort(run: _Run, drafts: Iterable[InvoiceDraft], held: HeldBy, allow: IssueRules) -> _Sorted:
    outcome = _Sorted()
    for draft in drafts:
        name, period = draft.subscription.subscription_id, draft.period
        if not (draft.lines or draft.unpriced):
            continue
        if run.ask.now < period.end and not allow.open_period:
            outcome.not_over.add(name)
            continue
        try:
            _check_usual(draft, run.ask.release)
            ready = make_ready(draft, now=run.ask.now, allow=allow, held=held)
        except LedgerError as error:
            outcome.failed.append(Failed(name, period.start, period.end, reason_of(error)))
        else:
            outcome.ready.append(ready)
    return outcome


def _check_usual(draft: InvoiceDraft, released: frozenset[str]) -> None:
    customer_id = draft.agreement.customer_id
    if draft.unusual is not None and customer_id not in released:
        raise ConflictError(
            f"A person should look at it first: {draft.unusual}.",
            f"If it is right, run it again with the release of {customer_id}.",
        )


async def _park(
    run: _Run, names: Names, drafts: Sequence[InvoiceDraft], failed: Sequence[Failed]
) -> list[Parked]:
    """Keep what failed, counted on from what was parked of it, in place of all that was parked of
    these subscriptions and is drafted anew, or due no more."""
    stage, entity_id, now = PARKED_AS, run.ask.entity_id, run.ask.now
    known = await standing.list_parked(run.connection, stage=stage, entity_id=entity_id)
    come = [
        park(
            failure,
            [each for each in known if each.what.subject == failure.subject],
            stage=stage,
            entity_id=entity_id,
            now=now,
        )
        for failure in failed
    ]
    if known:
        billed = await _billed(run, {each.what.subject for each in known}.intersection(names))
        drafted = [(each.subscription.subscription_id, each.period) for each in drafts]
        await standing.end_parked(
            run.connection, stage=stage, entity_id=entity_id, periods=[*drafted, *billed]
        )
    await standing.change_parked(
        run.connection, stage=stage, entity_id=entity_id, gone=(), come=come, now=now
    )
    return come


async def _billed(run: _Run, names: Iterable[str]) -> list[tuple[str, Period]]:
    """Periods that were billed: what is parked of them was a credit note, which each run drafts
    anew for as long as it is due."""
    periods = await list_billed_periods(run.connection, subscription_ids=sorted(names))
    return [(name, each.period) for name, some in periods.items() for each in some if each.stands]


def _result(ask: RunAsk, came: _Outcome) -> InvoiceRun:
    sums: dict[str, list[IssuedInvoice]] = defaultdict(list)
    for each in came.issued:
        sums[each.currency].append(each)
    return InvoiceRun(
        entity_id=ask.entity_id,
        issued=len(came.issued),
        not_over=len(came.not_over),
        totals=tuple(_total(currency, issued) for currency, issued in sorted(sums.items())),
        parked=tuple(came.parked),
    )


def _total(currency: str, issued: Sequence[IssuedInvoice]) -> RunTotal:
    return RunTotal(
        currency=currency,
        invoices=len(issued),
        net_total=total([each.net_total for each in issued]),
        payable=total([each.payable for each in issued]),
    )
