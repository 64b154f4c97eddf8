"""Reads statements of a bank account as ISO 20022 has them (CAMT.053), of any version.

Tags are told by their local names; what is not read is let go.
"""

from dataclasses import dataclass

from ledger.wire.errors import FieldError
from ledger.wire.xml import TEXT_CHARS_MAX, Element, parse_xml

_BOOKED = "BOOK"
_ACCOUNT = ("IBAN", "Othr/Id")


@dataclass(frozen=True, slots=True)
class CamtEntry:
    """A booked entry, or one payment of an entry that holds several, in the bank's own words;
    `credit` is money that came."""

    bank_reference: str
    booked_on: str
    amount: str
    currency: str
    credit: bool
    payer: str
    payer_account: str
    reference: str


@dataclass(frozen=True, slots=True)
class CamtStatement:
    """A statement of one account; balances are (amount, is credit) where it names them.

    `skipped` counts entries that are not booked yet.
    """

    statement_id: str
    account: str
    currency: str
    opening: tuple[str, bool] | None
    closing: tuple[str, bool] | None
    sums: tuple[tuple[str, bool], ...]
    entries: tuple[CamtEntry, ...]
    skipped: int


def read_camt(content: bytes) -> list[CamtStatement]:
    """The statements of a document; FieldError says why it is none."""
    root = parse_xml(content)
    statements = [_statement(each) for each in root.each("BkToCstmrStmt/Stmt")]
    if root.tag != "Document" or not statements:
        raise FieldError("send a statement of ISO 20022, CAMT.053")
    return statements


def _statement(statement: Element) -> CamtStatement:
    entries, skipped = list(statement.each("Ntry")), 0
    read: list[CamtEntry] = []
    booked = []
    for entry in entries:
        if entry.say("Sts/Cd", "Sts") != _BOOKED:
            skipped += 1
            continue
        booked.append((entry.say("Amt"), _is_credit(entry)))
        read += _entries(entry)
    return CamtStatement(
        statement_id=statement.say("Id"),
        account="".join(statement.say(*(f"Acct/Id/{each}" for each in _ACCOUNT)).split()),
        currency=statement.say("Acct/Ccy"),
        opening=_balance(statement, "OPBD"),
        closing=_balance(statement, "CLBD"),
        sums=tuple(booked),
        entries=tuple(read),
        skipped=skipped,
    )


def _entries(entry: Element) -> list[CamtEntry]:
    """An entry as a whole, or its payments one by one where each has an amount of its own."""
    parts = list(entry.each("NtryDtls/TxDtls"))
    amounts = [part.say("Amt", "AmtDtls/TxAmt/Amt") for part in parts]
    if len(parts) < 2 or not all(amounts):
        return [_entry(entry, parts[0] if len(parts) == 1 else Element("", {}), entry.say("Amt"))]
    return [
        _entry(entry, part, amount, f"#{number}")
        for number, (part, amount) in enumerate(zip(parts, amounts, strict=True), start=1)
    ]


def _entry(entry: Element, part: Element, amount: str, nth: str = "") -> CamtEntry:
    own = part.say("Refs/AcctSvcrRef")
    whole = entry.say("AcctSvcrRef", "NtryRef")
    money = next(
        (each for path in ("Amt", "AmtDtls/TxAmt/Amt") for each in part.each(path) if nth),
        next(entry.each("Amt"), Element("", {})),
    )
    # Who is paid stands beside who pays: the other side is the one that an entry is not.
    other = "Dbtr" if _is_credit(entry) else "Cdtr"
    return CamtEntry(
        bank_reference=own or (f"{whole}{nth}" if whole else ""),
        booked_on=entry.say("BookgDt/Dt", "BookgDt/DtTm")[:10],
        amount=amount,
        currency=money.attributes.get("Ccy", ""),
        credit=_is_credit(entry),
        payer=part.say(f"RltdPties/{other}/Pty/Nm", f"RltdPties/{other}/Nm"),
        payer_account=part.say(
            f"RltdPties/{other}Acct/Id/IBAN", f"RltdPties/{other}Acct/Id/Othr/Id"
        ),
        reference=_reference(entry, part),
    )


def _reference(entry: Element, part: Element) -> str:
    paths = (
        "RmtInf/Strd/CdtrRefInf/Ref",
        "RmtInf/Strd/RfrdDocInf/Nb",
        "RmtInf/Ustrd",
        "Refs/EndToEndId",
    )
    said = [" ".join(each.text.split()) for path in paths for each in part.each(path)]
    said += [entry.say("AddtlNtryInf")]
    kept = dict.fromkeys(text for text in said if text and text != "NOTPROVIDED")
    return " ".join(kept)[:TEXT_CHARS_MAX].strip()


def _balance(statement: Element, kind: str) -> tuple[str, bool] | None:
    for balance in statement.each("Bal"):
        if balance.say("Tp/CdOrPrtry/Cd") == kind:
            return balance.say("Amt"), _is_credit(balance)
    return None


def _is_credit(element: Element) -> bool:
    return element.say("CdtDbtInd") == "CRDT"
