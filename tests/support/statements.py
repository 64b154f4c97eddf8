"""Statements of a bank as a test wants them."""

from collections.abc import Sequence

IBAN = "DK5000400440116243"
DAY = "2023-12-05"


def entry(
    amount: str,
    text: str,
    *,
    ref: str,
    credit: bool = True,
    state: str = "BOOK",
    day: str = DAY,
    payer: str = "Acme GmbH",
    currency: str = "USD",
    parts: Sequence[tuple[str, str]] = (),
    parts_in: str | None = None,
    parts_ref: str = "",
    takes_back: bool = False,
) -> str:
    """A booked entry with one payment, or several (amount, text) in a currency of their own; one
    that takes another back names its payer where that one did."""
    side = "Dbtr" if credit != takes_back else "Cdtr"
    own = f"<AcctSvcrRef>{parts_ref}</AcctSvcrRef>" if parts_ref else ""
    details = [
        f"""<TxDtls><Refs>{own}<EndToEndId>{"NOTPROVIDED" if parts else "E2E-7"}</EndToEndId></Refs>
            {f'<Amt Ccy="{parts_in or currency}">{one}</Amt>' if parts else ""}
            <RltdPties><{side}><Nm>{payer}</Nm></{side}><{side}Acct><Id>
            <IBAN>DE89370400440532013000</IBAN></Id></{side}Acct></RltdPties>
            <RmtInf><Ustrd>{said}</Ustrd></RmtInf></TxDtls>"""
        for one, said in (parts or [(amount, text)])
    ]
    return f"""<Ntry><Amt Ccy="{currency}">{amount}</Amt>
      <CdtDbtInd>{"CRDT" if credit else "DBIT"}</CdtDbtInd>
      {"<RvslInd>true</RvslInd>" if takes_back else ""}
      <Sts>STATE{state}STATE</Sts><BookgDt><Dt>{day}</Dt></BookgDt>
      <AcctSvcrRef>{ref}</AcctSvcrRef><NtryDtls>{"".join(details)}</NtryDtls></Ntry>"""


def statement(
    *entries: str,
    account: str = IBAN,
    version: str = "08",
    balances: tuple[str, str] | None = None,
) -> bytes:
    """A statement of an account; entries stand in the form of its version."""
    opening, closing = ("<Cd>", "</Cd>") if int(version) >= 8 else ("", "")
    body = "".join(
        each.replace("STATE", opening, 1).replace("STATE", closing, 1) for each in entries
    )
    kinds = zip(("OPBD", "CLBD"), balances or (), strict=False)
    named = "".join(
        f"""<Bal><Tp><CdOrPrtry><Cd>{kind}</Cd></CdOrPrtry></Tp><Amt Ccy="USD">{amount}</Amt>
            <CdtDbtInd>CRDT</CdtDbtInd></Bal>"""
        for kind, amount in kinds
    )
    return f"""<?xml version="1.0" encoding="UTF-8"?>
      <Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.053.001.{version}"><BkToCstmrStmt>
      <GrpHdr><MsgId>M</MsgId></GrpHdr><Stmt><Id>STMT-1</Id><Acct><Id><IBAN>{account}</IBAN></Id>
      <Ccy>USD</Ccy></Acct>{named}{body}</Stmt></BkToCstmrStmt></Document>""".encode()
