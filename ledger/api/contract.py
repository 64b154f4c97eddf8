"""What each operation takes and answers: the table that the OpenAPI document is made of."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from ledger.api.answer import JSON
from ledger.domain.billing.issued import PDF, XML
from ledger.flows.reference.resource import Resource
from ledger.flows.reference.resources import RESOURCES
from ledger.reports.grouped import GroupedReport
from ledger.reports.report import PeriodReport
from ledger.reports.table import REPORTS
from ledger.wire import (
    answers,
    ask_inputs,
    bank_answers,
    bank_inputs,
    budget_answers,
    budget_inputs,
    close_answers,
    close_inputs,
    dunning_answers,
    events,
    evidence_answers,
    inputs,
    invoice_answers,
    key_answers,
    preview_answers,
    problem_answers,
    receivable_inputs,
    report_answers,
    status_answers,
    waiting_answers,
    webhook_answers,
    webhook_inputs,
)
from ledger.wire.batch import COLUMNAR, ENCODINGS

CSV = "text/csv"
BYTES = "application/octet-stream"
NDJSON = "application/x-ndjson"
CLOUDEVENT = "application/cloudevents+json"


@dataclass(frozen=True, slots=True)
class Contract:
    """The answer of an operation, one or a page of it (`listed`), or other media; and its body.

    `more` are statuses beyond those that every operation of its kind may answer.
    """

    answer: type[BaseModel] | None = None
    listed: bool = False
    shown: bool = False
    media: tuple[str, ...] = ()
    body: type[BaseModel] | None = None
    bodies: Mapping[str, Any] | None = None
    without: str | None = None
    more: tuple[int, ...] = ()


def _of_resource(resource: Resource) -> dict[str, Contract]:
    name = resource.path.replace("-", "_")
    contracts = {f"list_{name}": Contract(resource.row, listed=True)}
    if resource.parent is None:
        contracts[f"show_{name}"] = Contract(resource.row, shown=True)
    if resource.model is not None:
        added = answers.Added if resource.holes is None else answers.AddedToSeries
        entered = added if resource.counted else answers.Entered
        key = resource.key if resource.parent else None
        contracts[f"enter_{name}"] = Contract(entered, body=resource.model, without=key)
    if resource.change is not None:
        model = resource.change.model
        contracts[f"change_{name}"] = Contract(answers.Entered, body=model, without=resource.key)
    return contracts


def _of_report(report: PeriodReport[Any] | GroupedReport) -> dict[str, Contract]:
    if isinstance(report, GroupedReport):
        return {report.name: Contract(report.answer, media=(CSV,))}
    name, media = report.path.rpartition("/")[2], (CSV,) if report.csv else ()
    return {name: Contract(report.answer, listed=report.listed, media=media)}


_EVENT = {"$ref": "#/components/schemas/UsageEvent"}
_EVENTS: Mapping[str, Any] = {
    CLOUDEVENT: _EVENT,
    "application/cloudevents-batch+json": {"type": "array", "items": _EVENT, "minItems": 1},
    JSON: {"anyOf": [_EVENT, {"type": "array", "items": _EVENT, "minItems": 1}]},
    NDJSON: {"type": "string", "description": "One event a line."},
    ENCODINGS[COLUMNAR]: {"type": "string", "format": "binary", "description": "docs/batches.md"},
}
# Models that bodies refer to without being one themselves.
REFERRED: tuple[type, ...] = (
    events.UsageEvent,
    problem_answers.Problem,
    preview_answers.ChangePreview,
)

CONTRACTS: Mapping[str, Contract] = {
    "healthz": Contract(answers.State),
    "readyz": Contract(answers.Ready),
    "show_metrics": Contract(media=("text/plain",)),
    "me": Contract(key_answers.Caller),
    "post_events": Contract(answers.Events, bodies=_EVENTS, more=(415,)),
    **{name: each for kind in RESOURCES for name, each in _of_resource(kind).items()},
    "end": Contract(answers.Entered, body=ask_inputs.EndAsk, more=(404,)),
    "reserve": Contract(budget_answers.Held, body=budget_inputs.NewReservation, more=(402, 404)),
    "release_reservation": Contract(
        budget_answers.ReleasedReservation, body=budget_inputs.ReservationRelease
    ),
    "take_statement": Contract(
        bank_answers.ImportedStatement,
        bodies={"application/xml": {"type": "string", "description": "ISO 20022, CAMT.053."}},
    ),
    "take_logo": Contract(
        answers.KeptLogo,
        bodies={BYTES: {"type": "string", "format": "binary", "description": "A PNG or an SVG."}},
    ),
    "match_bank_entry": Contract(bank_answers.BankOutcome, body=bank_inputs.BankEntryOwner),
    "dismiss_bank_entry": Contract(bank_answers.DismissedEntry, body=ask_inputs.Dismissal),
    "change_month": Contract(close_answers.ChangedMonth, body=close_inputs.MonthAsk),
    "show_months": Contract(close_answers.Months),
    "run_dunning": Contract(dunning_answers.DunningRun),
    "fetch_letter_pdf": Contract(media=(PDF,)),
    "make_webhook_secret": Contract(webhook_answers.WebhookSecret),
    "switch_webhook": Contract(webhook_answers.SwitchedWebhook, body=webhook_inputs.WebhookSwitch),
    "replay_notice": Contract(webhook_answers.Replayed),
    "create_key": Contract(key_answers.NewKey, body=inputs.NewApiKey),
    "revoke_key": Contract(key_answers.RevokedKey),
    **{name: each for report in REPORTS for name, each in _of_report(report).items()},
    "cost_evidence": Contract(evidence_answers.CostEvidence),
    "coming": Contract(invoice_answers.Draft, listed=True),
    "activity": Contract(report_answers.Activity),
    "status": Contract(status_answers.Status),
    "preview": Contract(invoice_answers.Draft, body=ask_inputs.InvoiceAsk),
    "issue": Contract(invoice_answers.Issued, body=ask_inputs.InvoiceAsk),
    "run": Contract(invoice_answers.InvoiceRun, body=ask_inputs.InvoiceRunAsk),
    "receivables": Contract(invoice_answers.Receivables),
    "open_dispute": Contract(invoice_answers.OpenedDispute, body=receivable_inputs.DisputeAsk),
    "resolve_dispute": Contract(
        invoice_answers.ResolvedDispute, body=receivable_inputs.DisputeResolution
    ),
    "credit": Contract(invoice_answers.IssuedCredit, body=receivable_inputs.CreditAsk),
    "fetch_credit_pdf": Contract(media=(PDF,)),
    "fetch_credit_xml": Contract(media=(XML,)),
    "list_invoices": Contract(invoice_answers.Invoice, listed=True),
    "fetch_invoice": Contract(invoice_answers.WholeInvoice, media=(PDF,)),
    "fetch_pdf": Contract(media=(PDF,)),
    "fetch_xml": Contract(media=(XML,)),
    "fetch_usage_statement": Contract(media=(CSV,)),
    "fetch_line_usage": Contract(media=(CSV,)),
    "trace": Contract(invoice_answers.Trace),
    "adjustments": Contract(invoice_answers.Adjustment, listed=True),
    "suspense": Contract(waiting_answers.Suspended, listed=True),
    "release": Contract(waiting_answers.Released),
    "unpriced": Contract(waiting_answers.UnpricedOfEntity, listed=True),
    "quarantine": Contract(waiting_answers.Quarantined, listed=True),
    "quarantine_raw": Contract(media=(BYTES,)),
    "dismiss": Contract(waiting_answers.Dismissed, body=ask_inputs.Dismissal),
    "dismiss_waiting": Contract(waiting_answers.Decided, body=ask_inputs.SuspenseDismissal),
    "conflicts": Contract(waiting_answers.Conflict, listed=True),
    "conflict": Contract(waiting_answers.WholeConflict),
    "resolve": Contract(waiting_answers.Resolved, body=ask_inputs.ConflictResolution),
    "list_formats": Contract(answers.Format, listed=True),
    "export": Contract(media=(CSV, "text/plain", BYTES)),
}
