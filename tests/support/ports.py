"""Ports for processes that take no port 0: nobody else has one before it is listened on."""

import socket

# Below those that the kernel gives to whoever asks for any.
PORTS = range(20_000, 32_000)


def free_port() -> int:
    """A port of this host that no other call has had, in whatever process, while this one lives."""
    return next(port for port in PORTS if _mark(port))


def free_pair() -> int:
    """The first of two such ports that follow each other."""
    return next(port for port in PORTS[::2] if _mark(port) and _mark(port + 1))


def _mark(port: int) -> bool:
    mark = socket.socket(socket.AF_UNIX)
    try:
        # A name outside the file system, which ends with its process.
        mark.bind(f"\0tokenledger-test-port-{port}")
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        mark.close()
        return False
    mark.detach()
    return True
