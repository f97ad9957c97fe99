"""Settings: nine variables, all told apart from nonsense."""

import pytest

from localfaas.settings import Settings, SettingsError, Traces


def test_defaults_stay_on_loopback_in_the_project(tmp_path):
    settings = Settings.load({}, tmp_path)
    assert (settings.bind, settings.state, settings.port("edge")) == ("127.0.0.1", tmp_path / ".local", 8000)


def test_offset_shifts_every_port(tmp_path):
    settings = Settings.load({"PORT_OFFSET": "1000"}, tmp_path)
    assert settings.url("gateway") == "http://127.0.0.1:9080"


@pytest.mark.parametrize("offset", ["-1", "x", "1.5", "99999", "١٢"])
def test_unusable_offset_is_named(tmp_path, offset):
    with pytest.raises(SettingsError, match="PORT_OFFSET"):
        Settings.load({"PORT_OFFSET": offset}, tmp_path)


def test_rate_limits_hold_unless_switched_off(tmp_path):
    assert [Settings.load(given, tmp_path).rate_limits for given in ({}, {"RATE_LIMITS": "on"})] == [
        True,
        True,
    ]
    assert not Settings.load({"RATE_LIMITS": "off"}, tmp_path).rate_limits
    with pytest.raises(SettingsError, match="RATE_LIMITS must be on or off, not 'no'"):
        Settings.load({"RATE_LIMITS": "no"}, tmp_path)


def test_relative_state_directory_counts_from_the_project(tmp_path):
    assert Settings.load({"STATE_DIR": "elsewhere"}, tmp_path).state == tmp_path / "elsewhere"


def test_stack_is_read_with_the_platforms_own_addresses_unless_told_otherwise(tmp_path):
    settings = Settings.load({"PORT_OFFSET": "1000"}, tmp_path)
    read = settings.stack_variables({"EDGE_URL": "https://shop.example"})
    assert read["EDGE_URL"] == "https://shop.example"
    assert read["PROMETHEUS_URL"] == "http://localhost:9010"
    assert read["DASHBOARDS_URL"] == "http://localhost:9011"


@pytest.mark.parametrize(
    ("given", "traces"),
    [
        ({}, None),
        ({"TRACES": "off", "TRACES_URL": "http://collector:4318"}, None),
        ({"TRACES": "on"}, Traces("http://127.0.0.1:9095", 1)),
        ({"TRACES": "on", "TRACES_RATIO": "0.01"}, Traces("http://127.0.0.1:9095", 0.01)),
        ({"TRACES_URL": "http://collector:4318/"}, Traces("http://collector:4318", 1)),
    ],
)
def test_spans_go_nowhere_to_the_store_or_to_a_collector(tmp_path, given, traces):
    settings = Settings.load({"PORT_OFFSET": "1000", **given}, tmp_path)
    assert settings.traces == traces
    assert settings.stores_traces is (traces is not None and "9095" in traces.url)
    assert settings.stack_variables(given)["TRACES_URL"] == (traces.url if traces else "")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TRACES", "yes"),
        ("TRACES_URL", "collector:4318"),
        ("TRACES_URL", "https://collector"),
        ("TRACES_URL", "http://collector:x"),
        ("TRACES_RATIO", "2"),
        ("TRACES_RATIO", "nan"),
    ],
)
def test_a_trace_setting_that_makes_no_sense_is_named(tmp_path, name, value):
    with pytest.raises(SettingsError, match=name):
        Settings.load({"TRACES": "on", name: value}, tmp_path)
