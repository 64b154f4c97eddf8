"""An invoice's PDF: the same bytes for the same data, whatever the names are written in."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from importlib.resources import files
from io import BytesIO
from typing import TypeVar

import pytest
import typst
from pypdf import PdfReader
from pypdf.generic import DictionaryObject

from ledger.documents.fonts import find_lacking, fonts
from ledger.documents.invoice import NO_DAYS, describe, group, printed_line, render_pdf
from ledger.documents.summary import day_chart, grouped_lines
from ledger.documents.words import words_of
from ledger.domain.billing.agreement import Buyer, Seller, Terms
from ledger.domain.billing.invoice import InvoiceLine, InvoiceTotals, LineKey
from ledger.domain.billing.issued import Invoice, IssuedLine
from ledger.domain.billing.tax import TaxKey, TaxLine, Treatment
from ledger.domain.errors import InvalidInputError
from ledger.domain.money import ZERO, total
from ledger.domain.period import Period
from ledger.domain.pricing.models.per_unit import PerUnit
from ledger.domain.pricing.models.recurring import Recurring
from ledger.domain.pricing.price_model import PricePart
from ledger.wire.logo import Logo, read_logo
from tests.wire.test_logo import png, svg

OCTOBER = datetime(2024, 9, 30, 22, tzinfo=UTC)
NOVEMBER = datetime(2024, 10, 31, 23, tzinfo=UTC)
Role = TypeVar("Role", Seller, Buyer)
METERS = ("input_uncached", "output_visible", "output_reasoning")


def party(role: type[Role], name: str) -> Role:
    return role(name, "Street 1\n1000 Town", "DK12345678", "")


def lines(count: int, *, model: str = "llama", language: str = "en") -> list[IssuedLine]:
    drafted = [
        InvoiceLine(
            "usage" if n < count - 1 or count < 3 else "adjustment",
            LineKey(
                OCTOBER,
                NOVEMBER,
                model,
                "standard",
                "lora",
                "eu",
                n % 3,
                METERS[n % 3],
                1,
            ),
            18_059_974 * (n + 1),
            Decimal("90.29987"),
            Decimal("90.30"),
        )
        for n in range(count)
    ]
    return describe(drafted, {1: PerUnit(amount=Decimal(5))}, words_of(language))


def rendered(
    *,
    buyer: str = "Acme",
    count: int = 2,
    net: str = "1093.99",
    exact: str = "1093.98831",
    is_test: bool = False,
    taxes: tuple[TaxLine, ...] = (),
    language: str = "en",
    models: tuple[str, ...] = ("llama",),
    days: Mapping[date, Decimal] = NO_DAYS,
    logo: Logo | None = None,
) -> bytes:
    invoice = Invoice(
        number="FA-2024-000001",
        entity_id="fa",
        customer_id="acme",
        subscription_id="acme-list",
        period=Period(OCTOBER, NOVEMBER),
        run_no=1,
        seller=replace(party(Seller, "Žluťoučký Kůň GmbH"), payment_account="DK50 0040"),
        buyer=party(Buyer, buyer),
        terms=Terms("list", "List", "EUR", language, 30, "half_up", "Europe/Copenhagen", "EUR"),
        totals=InvoiceTotals(Decimal(exact), Decimal(net), total([t.amount for t in taxes])),
        taxes=taxes,
        prices={},
        issued_at=NOVEMBER,
        due_on=date(2024, 12, 2),
        event_cut_off=NOVEMBER,
        cut_off_id=1,
        cut_off_seq=4711,
    )
    drafted = [line for model in models for line in lines(count, model=model, language=language)]
    return render_pdf(
        invoice, drafted, issued_on=date(2024, 11, 2), is_test=is_test, days=days, logo=logo
    )


def text_of(pdf: bytes) -> str:
    return "\n".join(page.extract_text() for page in PdfReader(BytesIO(pdf)).pages)


def test_the_same_invoice_gives_the_same_bytes() -> None:
    assert rendered(count=5) == rendered(count=5)


def test_a_name_without_a_blank_is_broken_in_its_column_and_keeps_every_sign() -> None:
    name, model = "W" * 120, "a-model_" * 15
    (page,) = PdfReader(BytesIO(rendered(buyer=name, models=(model,)))).pages
    ends: list[float] = []
    page.extract_text(visitor_text=lambda text, _, at, *__: ends.append(at[4] if text else 0.0))
    assert max(ends) < float(page.mediabox.right)
    shown = page.extract_text().replace("\n", "")
    assert name in shown
    assert model in shown


def drawn(word: str, *, as_named: bool) -> bytes:
    ours = (files("ledger.documents") / "named.typ").read_text(encoding="utf-8")
    source = f"""{ours}
        #set page(width: 400mm, height: 20mm)
        #set text(font: ("Libertinus Serif", "Noto Sans Arabic", "Noto Serif Hebrew"))
        #{f'breaking(named("{word}"))' if as_named else f'"{word}"'}"""
    shown = typst.compile(source.encode(), format="png", font_paths=fonts(of_this_host=False))
    return bytes(shown)


@pytest.mark.parametrize("word", ["شركةالاختبارالكبيرةجداالتيليس", "חברתהניסוייםהגדולהביותרבעולם"])
def test_a_long_word_from_right_to_left_is_drawn_as_it_is_written(word: str) -> None:
    assert drawn(word, as_named=True) == drawn(word, as_named=False)


def test_a_name_reads_in_the_direction_of_its_first_letter() -> None:
    arabic = "شركة ABC الاختبار"
    assert drawn(arabic, as_named=True) != drawn(arabic, as_named=False)
    assert drawn(arabic, as_named=True) == drawn(f"\u202b{arabic}\u202c", as_named=False)
    latin = "Acme 123 שם"
    assert drawn(latin, as_named=True) == drawn(latin, as_named=False)


def test_a_logo_stands_above_it_and_the_bytes_are_the_same_again() -> None:
    for content in (png(), svg()):
        logo = read_logo(content)
        once = rendered(logo=logo)
        assert once == rendered(logo=logo) != rendered()
        assert "FA-2024-000001" in text_of(once)
    (page,) = PdfReader(BytesIO(rendered(logo=read_logo(png())))).pages
    resources = page["/Resources"].get_object()
    assert isinstance(resources, DictionaryObject)
    images = resources["/XObject"].get_object()
    assert isinstance(images, DictionaryObject)
    assert len(images) == 1


def test_it_says_whole_days_both_included_and_what_it_was_made_from() -> None:
    text = text_of(rendered())
    for part in ("FA-2024-000001", "Žluťoučký Kůň GmbH", "2024-10-01 to 2024-10-31", "batch 4711"):
        assert part in text
    assert "Tax\n" not in text
    assert "Digest" in text


def test_it_says_the_tax_of_each_rate_and_why_there_is_none() -> None:
    rated = TaxKey("DK", Treatment.STANDARD, Decimal("25.000"), False, "")
    turned = TaxKey("DK", Treatment.REVERSE_CHARGE, ZERO, False, "Reverse charge")
    taxes = (
        TaxLine(rated, Decimal("1000.00"), Decimal("250.00")),
        TaxLine(turned, Decimal("93.99"), ZERO),
    )
    text = text_of(rendered(taxes=taxes))
    for part in ("VAT DK 25 %", "250.00", "Reverse charge", "93.99"):
        assert part in text


def test_another_amount_is_another_digest() -> None:
    digests = {
        text_of(rendered(net=net)).partition("Digest of this content ")[2].split()[0]
        for net in ("1093.99", "1094.00")
    }
    assert len(digests) == 2


NAMES = {
    "Japanese": "株式会社テスト 例ﾃｽﾄ",
    "simplified Chinese": "测试有限公司",
    "traditional Chinese": "測試股份有限公司",
    "Korean": "주식회사 테스트",
    "Arabic": "شركة الاختبار",
    "Hebrew": "חברה בע״מ",
    "Devanagari": "परीक्षण लिमिटेड",
    "Thai": "บริษัท ทดสอบ จำกัด",
    "Greek": "Ελλάς ΑΕ",
    "Cyrillic": "ООО «Пример»",
    "Vietnamese": "Công ty Thử nghiệm",
    "marks apart": "Z\u0307o\u0301łc\u0301 Z\u0307",
    "all at once": "株式会社テスト شركة Żółć",
    "long": "A" * 300,
    "typst": '#"x" \\ $y$ *z* _',
}


@pytest.mark.parametrize("script", NAMES)
def test_a_name_is_shown_in_its_script_by_fonts_of_packages_alone(script: str) -> None:
    pdf = rendered(buyer=NAMES[script])
    assert pdf.startswith(b"%PDF-1.7")
    assert b"pdfaid:part>3<" in pdf
    assert list(find_lacking({"name": NAMES[script]})) == []
    assert "�" not in text_of(pdf)


@pytest.mark.parametrize("sign", ["🚀", "\U00012000", "\U0001f468\u200d\U0001f469"])
def test_a_sign_no_font_has_is_refused_and_named(sign: str) -> None:
    assert [name for name, _ in find_lacking({"here": f"Acme {sign}", "there": "Acme"})] == ["here"]
    with pytest.raises(InvalidInputError, match=r"No font here shows .* change what is written"):
        rendered(buyer=f"Acme {sign} Ltd")


def test_what_events_call_a_model_steers_no_line() -> None:
    (line,) = lines(1, model="gpt\u202e4\x07\n")
    assert ", gpt\\u202e4\\x07\\n, tier standard" in line.description


def test_typst_never_reads_a_name_as_its_own_language() -> None:
    assert '#"x" $y$ *z* _' in text_of(rendered(buyer='#"x" $y$ *z* _'))


def test_many_lines_run_over_pages_that_each_have_the_header() -> None:
    pages = PdfReader(BytesIO(rendered(count=60))).pages
    assert len(pages) >= 3
    assert all("Quantity" in page.extract_text() for page in pages[:3])
    assert "Adjustment" in pages[-1].extract_text()


def test_a_test_entity_says_so_on_its_documents() -> None:
    assert "not a demand for payment" in text_of(rendered(is_test=True))


@pytest.mark.parametrize(
    ("number", "shown"),
    [("1234567.99", "1\u2009234\u2009567.99"), ("-0.5", "\u22120.5"), ("0", "0")],
)
def test_numbers_are_grouped_by_thin_spaces(number: str, shown: str) -> None:
    assert group(number) == shown


TITLES = {"de": "RECHNUNG", "fr": "FACTURE", "es": "FACTURA", "da": "FAKTURA", "ja": "請求書"}


@pytest.mark.parametrize("language", TITLES)
def test_an_invoice_is_in_the_language_of_its_buyer(language: str) -> None:
    pdf, words = rendered(language=language), words_of(language)
    text = text_of(pdf)
    account = words.say("Pay to {account}, naming {number}.", account="DK50 0040", number="FA-2024")
    said = (TITLES[language], words.say("Payable"), words.say("Output tokens"))
    for part in (*said, account.partition("FA-2024")[0]):
        assert part in text
    for english in ("Unit price", "Time zone", "Adjustment", "Each line", "Issued"):
        assert english not in text
    assert rendered(language=language) == pdf


def test_no_language_reads_a_context_as_a_fraction() -> None:
    for language in ("en", "de", "fr", "es", "da", "ja"):
        said = lines(3, language=language)[2].description
        assert "32\u2009000" in said
        assert "32,000" not in said


def test_a_difference_of_nothing_is_not_spoken_of() -> None:
    assert "rounded once" in " ".join(text_of(rendered()).split())
    assert "rounded once" not in text_of(rendered(net="1093.98831"))


def test_what_was_not_rounded_is_written_as_other_numbers_are() -> None:
    assert "unrounded total 1\u2009093.98831 EUR" in text_of(rendered())
    said = text_of(rendered(net="1093.90", exact="1093.8800000000"))
    assert "total 1\u2009093.88 EUR" in said
    assert "unrounded total is \u22120.02 EUR" in " ".join(said.split())


@pytest.mark.parametrize(("asked", "shown"), [("99.990000000000", "99.99"), ("5.1", "5.10")])
def test_a_fee_is_written_in_the_digits_of_its_currency(asked: str, shown: str) -> None:
    fee = Recurring(amount=Decimal(asked), every="month")
    key = LineKey(OCTOBER, NOVEMBER, "", "", "", "", 0, "fee", 1, "Base fee")
    drafted = InvoiceLine(
        "usage", key, 1, Decimal(asked), Decimal(shown), PricePart("Base fee", 1, Decimal(asked))
    )
    (line,) = describe([drafted], {1: fee})
    terms = Terms("list", "List", "EUR", "en", 30, "half_up", "Europe/Copenhagen", "EUR")
    assert printed_line(line, terms, words_of("en"))["price"] == shown


def test_many_lines_come_by_model_with_what_each_comes_to() -> None:
    few = text_of(rendered(count=6, models=("llama", "mistral")))
    assert "Subtotal" not in few
    many = text_of(rendered(count=7, models=("llama", "mistral")))
    for model in ("llama", "mistral"):
        assert f"Subtotal {model}" in many
    assert many.count("632.10") == 2
    assert "Zwischensumme llama" in text_of(
        rendered(count=7, models=("llama", "mistral"), language="de")
    )


@pytest.mark.parametrize("count", [1, 6, 7, 20])
def test_subtotals_add_up_to_the_lines_and_every_line_stands_once(count: int) -> None:
    # Models in turn, so that a group is of lines that stand apart.
    drafted = [
        line
        for pair in zip(lines(count, model="a"), lines(count, model="b"), strict=True)
        for line in pair
    ]
    numbered = [replace(line, line_no=number) for number, line in enumerate(drafted, start=1)]
    groups = grouped_lines(numbered, lambda line: {"n": str(line.line_no)}, words_of("en"))
    shown = [line["n"] for group_ in groups for line in group_.lines]
    assert sorted(shown, key=int) == [str(line.line_no) for line in numbered]
    subtotals = [group_.subtotal for group_ in groups if group_.subtotal is not None]
    assert len(subtotals) == (2 if count > 6 else 0)
    if subtotals:
        assert total(subtotals) == total([line.amount for line in numbered])


def test_fees_and_what_no_model_is_named_of_are_groups_of_their_own() -> None:
    whole = PricePart("all units", 1, Decimal("90.29987"))
    usage = [*lines(7), *lines(4, model="{0}")]
    rest = [
        replace(usage[0], key=usage[0].key._replace(model="", meter="fee")),
        replace(usage[0], key=usage[0].key._replace(model=""), part=whole),
        replace(usage[0], key=usage[0].key._replace(model="")),
    ]
    found = grouped_lines([*usage, *rest], lambda _: {}, words_of("de"))
    titles = [each.title for each in found]
    assert titles[:2] == ["llama", "{0}"]
    assert titles[2:] == ["Gebühren und Rabatte", "alle Modelle", "kein Modell genannt"]


def test_usage_is_said_by_meter_and_charged_days_are_bars() -> None:
    days = {date(2024, 10, day): Decimal(day) for day in (1, 2, 4)}
    once, again = rendered(days=days), rendered(days=days)
    assert once == again
    text = text_of(once)
    for part in ("Usage of the period", "Uncached input tokens", "at most 4.00 EUR", "2024-10-04"):
        assert part in text
    assert "Charged by day" not in text_of(rendered())


def test_a_day_without_charges_or_below_zero_has_no_bar() -> None:
    days = {date(2024, 10, 1): Decimal("-5"), date(2024, 10, 3): Decimal(8)}
    found = day_chart(days | {date(2024, 10, 5): Decimal(2)}, "EUR", words_of("en"), group)
    assert found is not None
    assert found["heights"] == [0, 0, 1000, 0, 250]
    assert day_chart({date(2024, 10, 1): Decimal(5)}, "EUR", words_of("en"), group) is None
    assert day_chart({}, "EUR", words_of("en"), group) is None
