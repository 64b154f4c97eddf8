"""What the collector is told comes from file, variables and command line, each name checked."""

from decimal import Decimal
from pathlib import Path

import pytest

from collectors.errors import CollectSettingsError
from collectors.settings import HttpSettings, KafkaSettings, load_settings

FULL = """
[collect]
producer = "a"
source = "/a"
spool_bytes = 2_000_000
interval_s = 0.5
exit_when_done = true
replay_start = 2026-03-01T00:00:00Z
[[collect.targets]]
engine = "vllm"
url = "http://h:8000"
instance = "i"
[collect.http]
url = "https://ledger"
api_key = "from-file"
ssl_cafile = "/etc/ca.pem"
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "collector.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_is_read_with_its_tables(tmp_path: Path) -> None:
    read = load_settings(written(tmp_path, FULL))
    assert (read.source, read.producer, read.spool_bytes) == ("/a", "a", 2_000_000)
    assert (read.interval_s, read.exit_when_done) == (Decimal("0.5"), True)
    assert [(one.engine, one.instance) for one in read.targets] == [("vllm", "i")]
    assert read.replay_start is not None
    assert read.replay_start.year == 2026
    assert read.http == HttpSettings(
        url="https://ledger", api_key="from-file", ssl_cafile=Path("/etc/ca.pem")
    )


def test_a_variable_wins_over_the_file_name_by_name_and_the_command_over_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "PRODUCER": "b",
        "INTERVAL_S": "2",
        "SPOOL_BYTES": "3000000",
        "EXIT_WHEN_DONE": "false",
        "HTTP__API_KEY": "from-variable",
        "TARGETS": '[{"engine":"tgi","url":"http://t","instance":"j"}]',
    }.items():
        monkeypatch.setenv(f"TOKENLEDGER_COLLECT_{name}", value)
    read = load_settings(written(tmp_path, FULL), interval_s="3", http={"url": "http://other"})
    assert (read.producer, read.interval_s, read.spool_bytes) == ("b", Decimal(3), 3_000_000)
    assert not read.exit_when_done
    assert [one.engine for one in read.targets] == ["tgi"]
    assert read.http is not None
    assert (read.http.url, read.http.api_key) == ("http://other", "from-variable")


def test_a_broker_is_named_by_variables_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKENLEDGER_COLLECT_KAFKA__BOOTSTRAP", '["b:1"]')
    monkeypatch.setenv("TOKENLEDGER_COLLECT_KAFKA__TOPIC", "t")
    assert load_settings().kafka == KafkaSettings(bootstrap=["b:1"], topic="t")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[collect]\nintervall_s = 1\n", "intervall_s is no setting; did you mean interval_s?"),
        ("[[collect.target]]\nengine='vllm'\n", "target is no setting; did you mean targets?"),
        ("[collect.htpp]\nurl = 'x'\n", "htpp is no setting; did you mean http?"),
        ("[collect.http]\nurl='http://h'\napikey='k'\n", "http.apikey is no setting; did you mean"),
        ("[[collect.targets]]\nengine='v'\nurl='u'\ninst='i'\n", "targets[0].inst is no setting"),
        ("[collect]\nzzz = 1\n", "zzz is no setting; there are source, producer"),
        ("[colect]\nproducer = 'a'\n", "found colect; did you mean collect"),
        ("[collect]\n[http]\nurl = 'x'\n", "found http; did you mean collect.http"),
        ("[collect]\n[kafka]\n", "found kafka; did you mean collect.kafka"),
        ("producer = 'a'\n", "did you mean collect.producer"),
        ("[ledger]\nport = 1\n", "write the settings into a table [collect]"),
        ("[collect]\ninterval_s = 0\n", "interval_s: write a number from 0.05 to 3600"),
        ("[collect]\ninterval_s = nan\n", "interval_s: write a number"),
        ("[collect]\nspool_bytes = 1.5\n", "spool_bytes: write a whole number"),
        ("[collect]\nexit_when_done = 7\n", "exit_when_done: write true or false"),
        ("[collect]\nnvml = 'maybe'\n", "nvml: write one of on, off, auto"),
        ("[collect]\nreplay_start = 2026-03-01T00:00:00\n", "replay_start: write a time with"),
        ("[collect]\nproducer = 7\n", "producer: write text"),
        ("[collect]\ntargets = 'vllm'\n", "targets: write a list"),
        ("[collect]\nhttp = 'http://h'\n", "http: write a table [http]"),
        ("[collect.kafka]\nbootstrap = []\n", "kafka.bootstrap: write a list of 1 or more"),
        ("[collect.kafka]\ntopic = 't'\n", "kafka.bootstrap is missing"),
        ("[collect.kafka]\nbootstrap=['b']\nsecurity_protocol='SASL_SSL'\n", "needs kafka.sasl_"),
        ("[[collect.targets]]\nengine='v'\nurl='u'\ninstance=''\n", "targets[0].instance: write"),
        ("[collect\n", "Expected"),
    ],
)
def test_what_is_misspelt_or_out_of_range_is_refused_with_what_is_right(
    tmp_path: Path, text: str, said: str
) -> None:
    with pytest.raises(CollectSettingsError) as refused:
        load_settings(written(tmp_path, text))
    assert said in str(refused.value)
    assert "collector.toml" in str(refused.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CollectSettingsError, match=r"absent\.toml"):
        load_settings(tmp_path / "absent.toml")


def test_two_destinations_are_refused(tmp_path: Path) -> None:
    text = FULL + '[collect.kafka]\nbootstrap = ["b"]\n'
    with pytest.raises(CollectSettingsError, match="not both"):
        load_settings(written(tmp_path, text))
