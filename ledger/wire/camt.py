"""Reads statements of a bank account as ISO 20022 has them (CAMT.053), of any version.

Tags are told by their local names; what is not read is let go.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation

from ledger.wire.errors import FieldError
from ledger.wire.xml import TEXT_CHARS_MAX, Element, parse_xml

_BOOKED = "BOOK"
_ACCOUNT = ("IBAN", "Othr/Id")
_TRUE = frozenset({"true", "1"})
# Of an entry, and of a payment in it, as older versions have that.
_AMOUNTS = ("Amt", "AmtDtls/TxAmt/Amt")


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
        entries=tuple(_told_apart(read)),
        skipped=skipped,
    )


def _entries(entry: Element) -> list[CamtEntry]:
    """An entry as a whole, or its payments one by one where they add up to it."""
    parts = list(entry.each("NtryDtls/TxDtls"))
    if len(parts) < 2 or not _add_up(parts, entry):
        return [_entry(entry, parts, entry)]
    return [_entry(entry, [part], part, f"#{nth}") for nth, part in enumerate(parts, start=1)]


def _add_up(parts: Sequence[Element], entry: Element) -> bool:
    """Whether payments are in the money of their entry and come to it: what was booked counts."""
    try:
        amounts = [(_signed(part, entry), _currency(part)) for part in parts]
        whole = _signed(entry, entry)
    except InvalidOperation:
        return False
    same_money = {currency for _, currency in amounts} == {_currency(entry)}
    return same_money and sum(amount for amount, _ in amounts) == whole


def _signed(said: Element, entry: Element) -> Decimal:
    amount = Decimal(_amount(said))
    return amount if _is_credit(said, entry) else -amount


def _amount(said: Element) -> str:
    return said.say(*_AMOUNTS)


def _currency(said: Element) -> str:
    money = next((each for path in _AMOUNTS for each in said.each(path)), Element("", {}))
    return money.attributes.get("Ccy", "")


def _entry(entry: Element, parts: Sequence[Element], money: Element, nth: str = "") -> CamtEntry:
    """What an entry, or one of its payments, says; `money` is which of them has the amount."""
    part = parts[0] if len(parts) == 1 else Element("", {})
    own, whole = part.say("Refs/AcctSvcrRef"), entry.say("AcctSvcrRef", "NtryRef")
    credit = _is_credit(money, entry)
    # Who is paid stands beside who pays: the other side is the one that an entry is not, and stays
    # so where what was booked is taken back.
    other = "Dbtr" if credit != (entry.say("RvslInd") in _TRUE) else "Cdtr"
    return CamtEntry(
        bank_reference=own or (f"{whole}{nth}" if whole else ""),
        booked_on=entry.say("BookgDt/Dt", "BookgDt/DtTm")[:10],
        amount=_amount(money),
        currency=_currency(money),
        credit=credit,
        payer=part.say(f"RltdPties/{other}/Pty/Nm", f"RltdPties/{other}/Nm"),
        payer_account=part.say(
            f"RltdPties/{other}Acct/Id/IBAN", f"RltdPties/{other}Acct/Id/Othr/Id"
        ),
        reference=_reference(entry, parts),
    )


def _told_apart(entries: Iterable[CamtEntry]) -> Iterable[CamtEntry]:
    """Entries of one statement: all of them were booked, also under one reference and alike."""
    seen: Counter[tuple[object, ...]] = Counter()
    for entry in entries:
        said = (entry.bank_reference, entry.booked_on, entry.amount, entry.currency, entry.credit)
        seen[said] += 1
        again = entry.bank_reference and seen[said] > 1
        yield replace(entry, bank_reference=f"{said[0]}#{seen[said]}") if again else entry


def _reference(entry: Element, parts: Sequence[Element]) -> str:
    paths = (
        "RmtInf/Strd/CdtrRefInf/Ref",
        "RmtInf/Strd/RfrdDocInf/Nb",
        "RmtInf/Ustrd",
        "Refs/EndToEndId",
    )
    said = [
        " ".join(each.text.split()) for part in parts for path in paths for each in part.each(path)
    ]
    said += [entry.say("AddtlNtryInf")]
    kept = dict.fromkeys(text for text in said if text and text != "NOTPROVIDED")
    return " ".join(kept)[:TEXT_CHARS_MAX].strip()


def _balance(statement: Element, kind: str) -> tuple[str, bool] | None:
    for balance in statement.each("Bal"):
        if balance.say("Tp/CdOrPrtry/Cd") == kind:
            return balance.say("Amt"), _is_credit(balance)
    return None


def _is_credit(element: Element, entry: Element | None = None) -> bool:
    """Whether money came; a payment that does not say so goes the way of its entry."""
    said = element.say("CdtDbtInd") or (entry.say("CdtDbtInd") if entry is not None else "")
    return said == "CRDT"
