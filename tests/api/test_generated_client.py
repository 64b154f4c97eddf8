"""A client that a generator makes of the document speaks to the API, by its types."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from ledger.wire.batch import COLUMNAR, ENCODINGS
from tests.api.held import DOCUMENT
from tests.api.served import Served, attempt

BIN = Path(sys.executable).parent
# Bytes are bytes to the generator, whatever is in them.
OPAQUE = (
    "application/x-ndjson",
    "application/pdf",
    "application/xml",
    ENCODINGS[COLUMNAR].partition(";")[0],
)
OVERRIDES = dict.fromkeys(OPAQUE, "application/octet-stream")


@pytest.fixture(scope="session")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The name of the package that was generated; a warning of the generator is a failure."""
    folder = tmp_path_factory.mktemp("generated")
    (folder / "openapi.json").write_text(json.dumps(DOCUMENT))
    (folder / "config.json").write_text(json.dumps({"content_type_overrides": OVERRIDES}))
    done = subprocess.run(
        [
            *(str(BIN / "openapi-python-client"), "generate", "--path", "openapi.json"),
            *("--config", "config.json", "--output-path", "ledger_client", "--meta", "none"),
            "--fail-on-warning",
        ],
        cwd=folder,
        env={**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    sys.path.insert(0, str(folder))
    yield "ledger_client"
    sys.path.remove(str(folder))


async def test_it_enters_changes_lists_and_reads(served: Served, generated: str) -> None:
    def named(module: str, name: str) -> Any:
        return getattr(import_module(f"{generated}.{module}"), name)

    client = named("client", "AuthenticatedClient")(base_url="http://testserver", token="")
    served.client.headers["Authorization"] = f"Bearer {served.keys['finance']}"
    client.set_httpx_client(served.client)

    def call(module: str, **given: Any) -> Any:
        return import_module(f"{generated}.api.{module}").sync(client=client, **given)

    new = named("models", "NewCustomer")(customer_id="gamma", entity_id="factory", name="Gamma")
    assert call("customers.enter_customers", body=new).id == "gamma"
    change = named("models", "CustomerChangeBody").from_dict(
        {"valid_from": "2024-02-01", "address": "Street 1"}
    )
    assert call("customers.change_customers", key="gamma", body=change).id == "gamma"
    page = call("customers.list_customers", limit=2)
    assert [row.customer_id for row in page.items] == ["acme", "beta"]
    (gamma,) = call("customers.list_customers", limit=2, cursor=page.next_).items
    assert (gamma.address, gamma.valid_from.isoformat()) == (
        *("Street 1",),
        "2024-02-01T00:00:00+00:00",
    )
    refused = call("customers.show_customers", key="nobody")
    assert (type(refused).__name__, refused.status) == ("Problem", 404)
    assert served.send(attempt("a")).status_code == 200
    assert call("status.status").fates.counted == 1
