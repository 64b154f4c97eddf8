"""Issues all invoices of an entity's billing periods: a few hundred in each transaction.

What went out stays when a run is broken off, and the next goes on behind it. Who cannot be invoiced
is parked with the reason and holds up nobody; each run tries what is parked again.
"""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from functools import partial

from ledger.domain.author import Author
from ledger.domain.errors import ConflictError, LedgerError, NotFoundError, UnavailableError
from ledger.domain.money import total
from ledger.domain.parked import Failed, Parked, park, reason_of
from ledger.domain.period import DAY, Period
from ledger.flows.billing.draft_invoice import (
    InvoiceDraft,
    Moment,
    cut_off_with_charges,
    draft_invoices,
)
from ledger.flows.billing.draw import draw
from ledger.flows.billing.issue import (
    NO_EXCEPTION,
    PARKED_AS,
    IssuedInvoice,
    IssueRules,
    Ready,
    issue_ready,
    list_unrated,
    make_ready,
)
from ledger.flows.books.book_revenue import book_revenue
from ledger.flows.parts import CHUNKS_BESIDE, by_count
from ledger.flows.pricing.rate import rate
from ledger.flows.reference.supersede import keep_write, writing
from ledger.flows.side_by_side import side_by_side
from ledger.store import parties, standing
from ledger.store.billing.draft import list_subscriptions
from ledger.store.billing.receivables import lock_receivables
from ledger.store.connect import draw_batch_seq
from ledger.store.cost import cost
from ledger.store.passing import passes_by_itself
from ledger.store.queries import Connection

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


def no_progress(looked_at: int, /) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True)
class RunAsk:
    """Whose invoices of which billing periods are to go out now, who says so, what that lets pass,
    which customers' go out though they are unusual, and how many in one transaction."""

    entity_id: str
    moment: Moment
    now: datetime
    author: Author
    allow: IssueRules = NO_EXCEPTION
    release: frozenset[str] = frozenset()
    together: int = TOGETHER


@dataclass(slots=True)
class _Run:
    connection: Connection
    ask: RunAsk
    sums: dict[str, list[IssuedInvoice]] = field(default_factory=lambda: defaultdict(list))
    not_over: set[str] = field(default_factory=set)
    parked: list[Parked] = field(default_factory=list)


@dataclass(slots=True)
class _Sorted:
    """Drafts of a batch: what can go out, and what cannot, why."""

    ready: list[Ready] = field(default_factory=list)
    failed: list[Failed] = field(default_factory=list)
    not_over: set[str] = field(default_factory=set)
    parked: list[Parked] = field(default_factory=list)


async def run_invoices(
    connection: Connection,
    ask: RunAsk,
    *,
    progress: Progress = no_progress,
    seal: Seal | None = None,
) -> InvoiceRun:
    """Issue the invoices of the billing periods that hold the moment, of every subscription of an
    entity that has something to bill and is not billed; `seal` keeps what came of it.

    Usage due is rated and booked first. Call it outside a transaction. NotFoundError without such
    an entity; UnavailableError where a batch older than charges stays open.
    """
    entity_id = ask.entity_id
    if await parties.find_entity(connection, entity_id) is None:
        raise NotFoundError(f"There is no entity {entity_id}.", "List them to see their ids.")
    await rate(connection, entity_id=entity_id, now=ask.now)
    await draw(connection, entity_id=entity_id, now=ask.now)
    await book_revenue(connection, entity_id=entity_id, now=ask.now)
    run, begin = _Run(connection, ask), _begin_of(ask.moment)
    names = await list_subscriptions(
        connection, entity_id=entity_id, since=begin - ZONES, until=begin + ZONES
    )
    # One run of an entity at a time: a second finds what the first issued.
    async with cost.running(connection, f"{PARKED_AS}:{entity_id}"):
        await _issue_all(run, names, progress)
    done = _result(run)
    if seal is not None:
        async with writing(connection):
            await seal(done)
    return done


async def _issue_all(run: _Run, names: Sequence[str], progress: Progress) -> None:
    """Over two connections where they are many: one drafts what it issues next as the other
    writes."""

    async def issue(run: _Run, chunk: Sequence[str]) -> None:
        await _attempt(run, chunk)
        progress(len(chunk))

    chunks = list(by_count(names, run.ask.together))
    if len(chunks) < CHUNKS_BESIDE:
        await side_by_side(chunks, [partial(issue, run)])
        return
    async with cost.beside_run(run.connection, f"{PARKED_AS}:{run.ask.entity_id}") as other:
        # What came of both is kept in the same place.
        runs = (run, replace(run, connection=other))
        await side_by_side(chunks, [partial(issue, each) for each in runs])


def _begin_of(moment: Moment) -> datetime:
    if isinstance(moment, datetime):
        return moment
    return datetime.combine(moment, time(), tzinfo=UTC)


async def _attempt(run: _Run, names: Sequence[str]) -> None:
    """Issue these; what fails is told from what does not by halving."""
    try:
        issued, outcome = await _issue(run, names)
    except Exception as error:
        if passes_by_itself(error) or isinstance(error, UnavailableError):
            raise
        if len(names) > 1:
            await _attempt(run, names[: len(names) // 2])
            await _attempt(run, names[len(names) // 2 :])
            return
        begin = _begin_of(run.ask.moment)
        failed = Failed(names[0], begin, begin + DAY, reason_of(error))
        async with run.connection.transaction():
            run.parked += await _park(run, {}, [failed])
        return
    run.not_over |= outcome.not_over
    run.parked += outcome.parked
    for each in issued:
        run.sums[each.currency].append(each)


async def _issue(run: _Run, names: Sequence[str]) -> tuple[list[IssuedInvoice], _Sorted]:
    connection, entity_id = run.connection, run.ask.entity_id
    async with writing(connection):
        # Nothing is voided while it is drafted; what is issued beside it is another's.
        await lock_receivables(connection, entity_id, shared=True)
        drafts = await draft_invoices(
            connection,
            names,
            run.ask.moment,
            entity_id=entity_id,
            cut_off=await cut_off_with_charges(connection, entity_id),
            now=run.ask.now,
            billed_too=False,
        )
        # Who is not on a card at the moment has nothing to bill then.
        there = [draft for draft in drafts.values() if isinstance(draft, InvoiceDraft)]
        outcome = _sort(run, there, await list_unrated(connection, entity_id))
        periods = {draft.subscription.subscription_id: draft.period for draft in there}
        outcome.parked += await _park(run, periods, outcome.failed)
        if not outcome.ready:
            return [], outcome
        issued = await issue_ready(
            connection, outcome.ready, now=run.ask.now, author=run.ask.author
        )
        await _keep_releases(run, outcome.ready)
        return issued, outcome


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


def _sort(run: _Run, drafts: Iterable[InvoiceDraft], unrated: Sequence[Parked]) -> _Sorted:
    outcome = _Sorted()
    for draft in drafts:
        name, period = draft.subscription.subscription_id, draft.period
        if not (draft.lines or draft.unpriced):
            continue
        if run.ask.now < period.end and not run.ask.allow.open_period:
            outcome.not_over.add(name)
            continue
        try:
            _check_usual(draft, run.ask.release)
            ready = make_ready(draft, now=run.ask.now, allow=run.ask.allow, unrated=unrated)
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
    run: _Run, periods: Mapping[str, Period], failed: Sequence[Failed]
) -> Sequence[Parked]:
    """Keep what failed, counted on from what was parked of it, in place of all that was parked of
    these periods of subscriptions."""
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
        await standing.end_parked(run.connection, stage=stage, entity_id=entity_id, periods=periods)
    await standing.change_parked(
        run.connection, stage=stage, entity_id=entity_id, gone=(), come=come, now=now
    )
    return come


def _result(run: _Run) -> InvoiceRun:
    return InvoiceRun(
        entity_id=run.ask.entity_id,
        issued=sum(map(len, run.sums.values())),
        not_over=len(run.not_over),
        totals=tuple(_total(currency, issued) for currency, issued in sorted(run.sums.items())),
        parked=tuple(run.parked),
    )


def _total(currency: str, issued: Sequence[IssuedInvoice]) -> RunTotal:
    return RunTotal(
        currency=currency,
        invoices=len(issued),
        net_total=total([each.net_total for each in issued]),
        payable=total([each.payable for each in issued]),
    )
