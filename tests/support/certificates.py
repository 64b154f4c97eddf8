"""A certificate authority of the tests' own, with a server of 127.0.0.1 and a client."""

import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Certificates:
    """Files of one authority: its own certificate, and pairs it signed."""

    cafile: Path
    server: tuple[Path, Path]
    client: tuple[Path, Path]

    def server_context(self, *, asks_clients: bool = False) -> ssl.SSLContext:
        """What a server shows, and whether it lets in clients that this authority knows alone."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.server)
        if asks_clients:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self.cafile)
        return context


def make_certificates(folder: Path) -> Certificates:
    """Make them all with openssl, valid for a day."""
    key, cafile = folder / "ca.key", folder / "ca.pem"
    _openssl("req", "-x509", *_new(key, "an authority"), "-out", cafile, "-days", "1")
    pairs = {}
    for name in ("server", "client"):
        own, asked, signed = (folder / f"{name}.{end}" for end in ("key", "csr", "pem"))
        names = folder / f"{name}.ext"
        names.write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n", encoding="ascii")
        _openssl("req", *_new(own, name), "-out", asked)
        by = ("-CA", cafile, "-CAkey", key, "-CAcreateserial", "-days", "1", "-extfile", names)
        _openssl("x509", "-req", "-in", asked, *by, "-out", signed)
        pairs[name] = (signed, own)
    return Certificates(cafile, pairs["server"], pairs["client"])


def _new(key: Path, name: str) -> tuple[str | Path, ...]:
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")
    return (*curve, "-nodes", "-keyout", key, "-subj", f"/CN={name}")


def _openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)
