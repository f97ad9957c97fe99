"""Settings are one table, read from a mapping; everything missing is said at once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from functions.shared import DatabaseSettings, FunctionSettings, SettingsError, TokenSettings, setting
from functions.shared.settings import Duration, load


@dataclass(frozen=True, kw_only=True)
class ShopSettings(DatabaseSettings, TokenSettings):
    opening_hour: int = setting("The hour at which the shop opens.")
    closed: bool = setting("Whether the shop is closed.", default=False)


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    (tmp_path / "shop-db").write_text("postgresql://shop@localhost/x\n")
    (tmp_path / "token-public-keys").write_text("{}")
    return tmp_path


def test_values_are_read_with_their_types(secrets: Path) -> None:
    environ = {"secret_mount_path": str(secrets), "opening_hour": "9", "closed": "true", "HOSTNAME": "shop-2"}
    settings = load(ShopSettings, "shop", environ)
    assert (settings.opening_hour, settings.closed, settings.replica) == (9, True, "shop-2")
    assert settings.database_url == "postgresql://shop@localhost/x"
    assert settings.exec_timeout == 10.0


def test_all_that_is_missing_is_named_at_once_with_its_sentence(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as caught:
        load(ShopSettings, "shop", {"secret_mount_path": str(tmp_path), "threads": "many"})
    message = str(caught.value)
    for expected in (
        "opening_hour is not set: The hour",
        "shop-db cannot be read",
        "token-public-keys",
        "threads",
    ):
        assert expected in message


@pytest.mark.parametrize("text", ["yes", "1", ""])
def test_a_flag_is_true_or_false_and_nothing_else(secrets: Path, text: str) -> None:
    environ = {"secret_mount_path": str(secrets), "opening_hour": "9", "closed": text}
    with pytest.raises(SettingsError, match="closed must be true or false"):
        load(ShopSettings, "shop", environ)


@pytest.mark.parametrize(
    ("text", "seconds"), [("10s", 10.0), ("750ms", 0.75), ("1m30s", 90.0), ("15", 15.0), ("1.5s", 1.5)]
)
def test_durations_are_written_as_in_openfaas(text: str, seconds: float) -> None:
    assert Duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "s", "-1s", "10 s", "1e9s", "ten", "10s\n"])
def test_anything_else_is_no_duration(text: str) -> None:
    with pytest.raises(SettingsError, match="exec_timeout"):
        load(FunctionSettings, "shop", {"exec_timeout": text})
