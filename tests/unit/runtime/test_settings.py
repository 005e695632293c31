"""Settings: each wrong or missing variable is named, with the remedy, and no value is shown."""

import base64

import pytest

from publishing.runtime.settings import PREFIX, SettingsError, environment, exit_on_settings_error, load_settings

pytestmark = pytest.mark.unit

RING = "k1:" + base64.b64encode(bytes(32)).decode()


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in environment():
        if name.startswith(PREFIX):
            monkeypatch.delenv(name)


def problems(*required: str) -> dict[str, str]:
    """What load_settings complains of."""
    with pytest.raises(SettingsError) as caught:
        load_settings(*required)
    return caught.value.problems


def test_the_defaults_are_those_of_the_contract() -> None:
    """Without any variable the documented defaults hold."""
    settings = load_settings()
    assert (settings.audience_shards, settings.api_port, settings.health_port) == (16, 8080, 8081)


def test_a_missing_variable_is_named() -> None:
    """Every missing variable is named at once, not one a start."""
    assert problems("database_url", "redis_url") == {
        "TIDEWIRE_DATABASE_URL": "is not set",
        "TIDEWIRE_REDIS_URL": "is not set",
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("KAFKA_BOOTSTRAP_SERVERS", "localhost"),
        ("DATABASE_URL", "mysql://secret@host/db"),
        ("REDIS_URL", "http://host"),
        ("AUDIENCE_SHARDS", "0"),
        ("AUDIENCE_SHARDS", "many"),
        ("TRACKING_KEYS", "k1:c2hvcnQ="),
        ("PUBLIC_URL", "https://news.example.org/"),
        ("SES_MODE", "fast"),
        ("TOPIC_PREFIX", "Upper Case"),
        ("API_PORT", "70000"),
    ],
)
def test_a_wrong_variable_is_named_without_its_value(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """A wrong value is refused by the variable's name; the value may be a secret and is not shown."""
    monkeypatch.setenv(PREFIX + name, value)
    found = problems()
    assert list(found) == [PREFIX + name]
    assert value not in found[PREFIX + name]


def test_tokens_need_a_secret_or_a_key_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that checks tokens does not start without anything to check them with."""
    monkeypatch.setenv("TIDEWIRE_JWT_ISSUER", "issuer")
    assert "TIDEWIRE_JWT_SECRET" in problems("jwt_issuer")
    monkeypatch.setenv("TIDEWIRE_JWT_SECRET", "short")
    assert problems("jwt_issuer") == {"TIDEWIRE_JWT_SECRET": "is shorter than 32 bytes"}
    monkeypatch.setenv("TIDEWIRE_JWT_SECRET", "s" * 32)
    assert load_settings("jwt_issuer").jwt_issuer == "issuer"


def test_no_secret_is_in_the_repr(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings that reach a log show no key, no secret and no database password."""
    monkeypatch.setenv("TIDEWIRE_SEAL_KEYS", RING)
    monkeypatch.setenv("TIDEWIRE_JWT_SECRET", "a-secret-that-nobody-may-ever-see")
    monkeypatch.setenv("TIDEWIRE_DATABASE_URL", "postgresql://u:hunter2@127.0.0.1:1/d")
    shown = repr(load_settings())
    assert not any(secret in shown for secret in ("hunter2", "nobody-may-ever", RING[3:]))


def test_a_process_exits_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    """Wrong settings end a process with exit code 2 and one line a variable."""
    with pytest.raises(SystemExit) as caught:
        exit_on_settings_error(SettingsError({"TIDEWIRE_REDIS_URL": "is not set"}))
    assert caught.value.code == 2
    assert capsys.readouterr().err == "tidewire: TIDEWIRE_REDIS_URL is not set\n"
