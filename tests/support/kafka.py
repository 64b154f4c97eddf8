"""A real Apache Kafka broker: a container where a Docker engine runs, else a local Java process."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaError

from tests.support.maven import CACHE, filled
from tests.support.ports import free_port

POM = Path(__file__).parent.parent / "kafka" / "pom.xml"
JAVA_MIN = 17
ANSWER_SECONDS_MAX = 240.0
# What starts often is compiled lightly: it answers in a third of the time.
OFTEN = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
CLUSTER_ID = "dG9rZW5sZWRnZXItdGVzdA"
SINGLE_NODE = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "PLAINTEXT",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "group.initial.rebalance.delay.ms": "0",
    # Workers that tests kill or freeze are missed soon.
    "group.min.session.timeout.ms": "1000",
    # A killed broker is let in again once its old session is over.
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
    "auto.create.topics.enable": "false",
}


class BrokerUnavailableError(Exception):
    """No real broker can be had on this machine; says what was looked for."""


class BrokerFailedError(Exception):
    """A broker was started and did not answer; carries the end of its log."""


class Broker(Protocol):
    """A single-node cluster that keeps its address and its log across stops."""

    bootstrap: str

    def start(self) -> None: ...
    def stop(self) -> None: ...
    def kill(self) -> None: ...
    def close(self) -> None: ...


class JavaBroker:
    """Kafka as a process of this machine, over jars that Maven resolved.

    `listeners` are more of them, by name the protocol each speaks; `listening` is where.
    """

    def __init__(
        self,
        jars: Path,
        folder: Path,
        *,
        options: Sequence[str] = (),
        settings: Mapping[str, str] = SINGLE_NODE,
        listeners: Mapping[str, str] = MappingProxyType({}),
        scram: Sequence[str] = (),
    ) -> None:
        self._folder = folder
        self._command = ["java", *options, "-Xms64m", "-Xmx512m", "-cp", f"{jars}/*"]
        listener, controller, *others = [free_port() for _ in range(2 + len(listeners))]
        self.bootstrap = f"127.0.0.1:{listener}"
        self.listening = {
            name: f"127.0.0.1:{port}" for name, port in zip(listeners, others, strict=True)
        }
        self._process: subprocess.Popen[bytes] | None = None
        self._write_properties(
            {**settings, **self._more(settings, listeners)}, listener, controller
        )
        self._format(scram)

    def start(self) -> None:
        """Start and wait until it answers; harmless when it runs."""
        if self._process is not None:
            return
        with (self._folder / "broker.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*self._command, "kafka.Kafka", str(self._properties)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_until_answering(self.bootstrap, self._check_alive)

    def stop(self) -> None:
        """A clean shutdown."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """What a crash does: no shutdown, no flush."""
        self._end(signal.SIGKILL)

    def close(self) -> None:
        self.kill()

    @property
    def _properties(self) -> Path:
        return self._folder / "server.properties"

    def _more(self, settings: Mapping[str, str], listeners: Mapping[str, str]) -> dict[str, str]:
        known = settings["listener.security.protocol.map"]
        protocols = [known, *(f"{name}:{protocol}" for name, protocol in listeners.items())]
        return {"listener.security.protocol.map": ",".join(protocols)}

    def _write_properties(self, base: Mapping[str, str], listener: int, controller: int) -> None:
        ours = ",".join(
            [
                f"PLAINTEXT://127.0.0.1:{listener}",
                *(f"{name}://{where}" for name, where in self.listening.items()),
            ]
        )
        settings = {
            **base,
            "listeners": f"{ours},CONTROLLER://127.0.0.1:{controller}",
            "advertised.listeners": ours,
            "controller.quorum.voters": f"1@127.0.0.1:{controller}",
            "log.dirs": str(self._folder / "log"),
        }
        self._properties.write_text(
            "".join(f"{name}={value}\n" for name, value in settings.items())
        )

    def _format(self, scram: Sequence[str]) -> None:
        tool = ["kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", str(self._properties)]
        tool += [word for each in scram for word in ("--add-scram", each)]
        done = subprocess.run([*self._command, *tool], capture_output=True, text=True, check=False)
        if done.returncode:
            raise BrokerFailedError(f"StorageTool format failed: {done.stdout}{done.stderr}")

    def _check_alive(self) -> None:
        if self._process is None or self._process.poll() is not None:
            self._process = None
            log = (self._folder / "broker.log").read_text(errors="replace")
            raise BrokerFailedError(f"the broker ended before it answered:\n{log[-4000:]}")

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(how)
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(30)
        self._process = None


class DockerBroker:
    """Kafka in a container, on one fixed port of this host so that a restart keeps its address."""

    def __init__(self, settings: Mapping[str, str] = SINGLE_NODE) -> None:
        from testcontainers.core.container import DockerContainer

        port = free_port()
        self.bootstrap = f"127.0.0.1:{port}"
        settings = {
            **settings,
            "listeners": "PLAINTEXT://:9092,CONTROLLER://:9093",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
            "controller.quorum.voters": "1@localhost:9093",
            "log.dirs": "/var/lib/kafka/data",
        }
        self._container = DockerContainer(f"apache/kafka:{kafka_version()}")
        self._container.with_bind_ports(9092, port)
        self._container.with_env("CLUSTER_ID", CLUSTER_ID)
        self._container.with_env("KAFKA_HEAP_OPTS", "-Xms64m -Xmx512m")
        for name, value in settings.items():
            self._container.with_env("KAFKA_" + name.upper().replace(".", "_"), value)
        self._made = False

    def start(self) -> None:
        """Start and wait until it answers; harmless when it runs."""
        if self._made:
            self._container.get_wrapped_container().start()
        else:
            self._container.start()
        self._made = True
        wait_until_answering(self.bootstrap, lambda: None)

    def stop(self) -> None:
        """A clean shutdown; the container and its log stay."""
        self._container.get_wrapped_container().stop()

    def kill(self) -> None:
        """What a crash does: no shutdown, no flush."""
        self._container.get_wrapped_container().kill()

    def close(self) -> None:
        if self._made:
            self._container.stop()


def make_broker(
    folder: Path, *, options: Sequence[str] = (), settings: Mapping[str, str] = SINGLE_NODE
) -> Broker:
    """A broker that is not started yet; BrokerUnavailableError where none can be had.

    `options` are of a local Java machine; a container has its own.
    """
    if docker_answers():
        return DockerBroker(settings)
    return JavaBroker(resolve_jars(), folder, options=options, settings=settings)


def docker_answers() -> bool:
    """Whether a Docker engine runs that this user may talk to."""
    if shutil.which("docker") is None:
        return False
    try:
        done = subprocess.run(["docker", "info"], capture_output=True, timeout=10, check=False)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def kafka_version() -> str:
    """The broker version that the pom names."""
    found = re.search(r"<kafka\.version>([\d.]+)</kafka\.version>", POM.read_text())
    assert found is not None, f"{POM} names no kafka.version"
    return found[1]


def resolve_jars() -> Path:
    """The folder of the broker's jars, resolved by Maven once and kept in .cache."""
    _require_java()
    return filled(CACHE / f"kafka-{kafka_version()}", POM, _copy_dependencies)


def wait_until_answering(bootstrap: str, check_alive: Callable[[], None]) -> None:
    """Return once the broker serves metadata; BrokerFailedError after minutes."""
    deadline = time.monotonic() + ANSWER_SECONDS_MAX
    while True:
        check_alive()
        if _answers(bootstrap):
            return
        if time.monotonic() > deadline:
            raise BrokerFailedError(f"no answer from {bootstrap} in {ANSWER_SECONDS_MAX:.0f} s")
        time.sleep(0.2)


def create_topic(bootstrap: str, name: str, partitions: int) -> None:
    """Make a topic and wait until every partition has a leader."""
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    try:
        admin.create_topics({name: {"num_partitions": partitions, "replication_factor": 1}})
        admin.wait_for_topics([name])
    finally:
        admin.close()


def _answers(bootstrap: str) -> bool:
    host, _, port = bootstrap.partition(":")
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
        admin = KafkaAdminClient(bootstrap_servers=bootstrap, bootstrap_timeout_ms=2000)
    except (OSError, KafkaError):
        return False
    try:
        return bool(admin.describe_cluster()["brokers"])
    except KafkaError:
        return False
    finally:
        admin.close()


def _require_java() -> None:
    missing = [program for program in ("java", "mvn") if shutil.which(program) is None]
    if missing:
        raise BrokerUnavailableError(
            f"no Docker engine answers, and there is no {' and no '.join(missing)}"
        )
    said = subprocess.run(["java", "-version"], capture_output=True, text=True, check=False).stderr
    found = re.search(r'version "(\d+)', said)
    if found is None or int(found[1]) < JAVA_MIN:
        raise BrokerUnavailableError(
            f"no Docker engine answers, and Kafka needs Java {JAVA_MIN}: {said.strip()}"
        )


def _copy_dependencies(jars: Path) -> None:
    command = ["mvn", "-q", "-B", "-f", str(POM), "dependency:copy-dependencies"]
    options = ["-DincludeScope=runtime", f"-DoutputDirectory={jars}"]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    if done.returncode:
        raise BrokerUnavailableError(
            f"Maven could not resolve the broker's jars:\n{done.stdout[-3000:]}"
        )


if __name__ == "__main__":
    # What `make test` does first, so that no test waits for a download.
    try:
        sys.stdout.write(f"Kafka broker: {'container' if docker_answers() else resolve_jars()}\n")
    except BrokerUnavailableError as error:
        sys.stderr.write(f"Kafka broker: NONE, {error}\n")
        sys.exit(1 if os.environ.get("CI") == "true" else 0)
