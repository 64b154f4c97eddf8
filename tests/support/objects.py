"""An object store on this machine that answers as S3 does, over HTTP."""

import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

# What is private is given to whoever has signed, with whatever key.
SIGNED = {
    "Authorization": "AWS4-HMAC-SHA256 Credential=one/20260101/us-east-1/s3/aws4_request,"
    " SignedHeaders=host, Signature=0",
    "Content-Type": "application/octet-stream",
}


@dataclass(frozen=True)
class Bucket:
    """A bucket, and what whoever uses it has in the environment."""

    name: str
    address: str

    @property
    def url(self) -> str:
        return f"s3://{self.name}/books"

    @property
    def environment(self) -> dict[str, str]:
        return {
            "AWS_ACCESS_KEY_ID": "one",
            "AWS_SECRET_ACCESS_KEY": "two",
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": self.address,
            "AWS_ALLOW_HTTP": "true",
        }

    def write(self, key: str, octets: bytes) -> None:
        """Put other bytes in an object's place."""
        _ask("PUT", f"{self.address}/{self.name}/{key}", octets)

    def read(self, key: str) -> bytes:
        return _ask("GET", f"{self.address}/{self.name}/{key}")

    def delete(self, key: str) -> None:
        _ask("DELETE", f"{self.address}/{self.name}/{key}")


@contextmanager
def object_server() -> Iterator[str]:
    """The address of a server of buckets, until left."""
    # Loaded here: every test loads this file, and few need it.
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield f"http://{host}:{port}"
    finally:
        server.stop()


def make_bucket(address: str, name: str) -> Bucket:
    """A new bucket."""
    _ask("PUT", f"{address}/{name}", b"")
    return Bucket(name, address)


def _ask(method: str, url: str, body: bytes | None = None) -> bytes:
    request = urllib.request.Request(url, data=body, method=method, headers=SIGNED)
    with urllib.request.urlopen(request, timeout=30) as answer:
        octets: bytes = answer.read()
        return octets
