from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localfaas.schedule import ScheduleError, parse_schedule

SUNDAY = datetime(2026, 3, 1, 10, 20, 30, tzinfo=UTC)


def next_runs(schedule: str, count: int, after: datetime = SUNDAY) -> list[str]:
    """The next runs, in UTC, as `2026-03-01 10:21`."""
    trigger, runs, last, now = parse_schedule(schedule), [], None, after
    for _ in range(count):
        last = trigger.get_next_fire_time(last, now)
        runs.append(last.astimezone(UTC).strftime("%Y-%m-%d %H:%M"))
        now = last + timedelta(seconds=1)
    return runs


@pytest.mark.parametrize(
    ("schedule", "runs"),
    [
        ("* * * * *", ["2026-03-01 10:21", "2026-03-01 10:22"]),
        ("*/20 * * * *", ["2026-03-01 10:40", "2026-03-01 11:00"]),
        ("7/20 * * * *", ["2026-03-01 10:27", "2026-03-01 10:47", "2026-03-01 11:07"]),
        ("50-59/4 * * * *", ["2026-03-01 10:50", "2026-03-01 10:54", "2026-03-01 10:58", "2026-03-01 11:50"]),
        ("0 0,12 * * *", ["2026-03-01 12:00", "2026-03-02 00:00"]),
        ("30 4 1 jan ?", ["2027-01-01 04:30"]),
        ("0 9 * * 0", ["2026-03-08 09:00"]),
        ("0 9 * * 1", ["2026-03-02 09:00", "2026-03-09 09:00"]),
        ("0 9 * * MON-fri", ["2026-03-02 09:00", "2026-03-03 09:00"]),
        ("0 9 * * 6", ["2026-03-07 09:00"]),
        ("0 0 13 * 5", ["2026-03-06 00:00", "2026-03-13 00:00", "2026-03-20 00:00"]),
        ("0 0 13 * *", ["2026-03-13 00:00", "2026-04-13 00:00"]),
        ("0 0 */10 * 1", ["2026-03-02 00:00", "2026-03-09 00:00", "2026-03-11 00:00", "2026-03-16 00:00"]),
        ("0 0 */1 * 1", ["2026-03-02 00:00", "2026-03-09 00:00"]),
        ("0 0 1,* * 1", ["2026-03-02 00:00", "2026-03-09 00:00"]),
        ("*/5,1 * * * 1", ["2026-03-02 00:00", "2026-03-02 00:01", "2026-03-02 00:05"]),
        ("?/5 * * * *", ["2026-03-01 10:25", "2026-03-01 10:30"]),
        ("*/60 * * * *", ["2026-03-01 11:00", "2026-03-01 12:00"]),
        ("01 * * * *", ["2026-03-01 11:01"]),
        ("CRON_TZ=UTC @daily", ["2026-03-02 00:00"]),
        ("0 0 29 2 *", ["2028-02-29 00:00"]),
        ("@hourly", ["2026-03-01 11:00", "2026-03-01 12:00"]),
        ("@daily", ["2026-03-02 00:00"]),
        ("@midnight", ["2026-03-02 00:00"]),
        ("@weekly", ["2026-03-08 00:00"]),
        ("@monthly", ["2026-04-01 00:00"]),
        ("@yearly", ["2027-01-01 00:00"]),
        ("@annually", ["2027-01-01 00:00"]),
        ("  0  12  *  *  *  ", ["2026-03-01 12:00"]),
        ("CRON_TZ=America/Montreal 0 6 * * *", ["2026-03-01 11:00"]),
        ("TZ=Asia/Tokyo 30 4 * * *", ["2026-03-01 19:30"]),
    ],
)
def test_runs_are_when_the_connectors_library_has_them(schedule: str, runs: list[str]) -> None:
    assert next_runs(schedule, len(runs)) == runs


@pytest.mark.parametrize(
    ("schedule", "seconds"),
    [
        ("@every 5s", 5),
        ("@every 1m", 60),
        ("@every 1h30m", 5400),
        ("@every 1.5h", 5400),
        ("@every 2500ms", 2),
        ("@every 1ms", 1),
        ("@every 0s", 1),
        ("@every 90s500ms", 90),
    ],
)
def test_every_counts_whole_seconds_from_now_on(schedule: str, seconds: int) -> None:
    trigger = parse_schedule(schedule)
    first = trigger.get_next_fire_time(None, datetime.now(UTC))
    second = trigger.get_next_fire_time(first, first)
    assert timedelta(0) < first - datetime.now(UTC) <= timedelta(seconds=seconds)
    assert second - first == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        ("", "expected 5 fields or a descriptor such as @every 5s, found 0 fields"),
        ("* * * *", "expected 5 fields or a descriptor such as @every 5s, found 4 fields"),
        ("* * * * * *", "expected 5 fields or a descriptor such as @every 5s, found 6 fields"),
        ("60 * * * *", "'60' is not a minute (0 to 59)"),
        ("* 24 * * *", "'24' is not a hour (0 to 23)"),
        ("* * 0 * *", "'0' is not a day of month (1 to 31)"),
        ("* * * 13 *", "'13' is not a month (1 to 12)"),
        ("* * * * 7", "'7' is not a day of week (0 to 6)"),
        ("* * * foo *", "'foo' is not a month (1 to 12)"),
        ("30-10 * * * *", "'30-10' is not a minute (0 to 59)"),
        ("*/0 * * * *", "'*/0' is not a minute (0 to 59)"),
        ("*/ * * * *", "'' is not a minute (0 to 59)"),
        ("1,,2 * * * *", "'' is not a minute (0 to 59)"),
        ("1-2-3 * * * *", "'2-3' is not a minute (0 to 59)"),
        ("-1 * * * *", "'' is not a minute (0 to 59)"),
        (
            "@every",
            "@every is none of @every, @yearly, @annually, @monthly, @weekly, @daily, @midnight, @hourly",
        ),
        ("@every 5", "'5' is not a duration such as 5s or 1h30m"),
        ("@every -5s", "'-5s' is not a duration such as 5s or 1h30m"),
        (" @daily", "expected 5 fields or a descriptor such as @every 5s, found 1 fields"),
        ("@every  5s", "' 5s' is not a duration such as 5s or 1h30m"),
        ("*-5 * * * *", "'*' is not a minute (0 to 59)"),
        ("+5 * * * *", "'+5' is not a minute (0 to 59)"),
        ("*/1/2 * * * *", "'1/2' is not a minute (0 to 59)"),
        ("* * L * *", "'L' is not a day of month (1 to 31)"),
        (
            "@Hourly",
            "@Hourly is none of @every, @yearly, @annually, @monthly, @weekly, @daily, @midnight, @hourly",
        ),
        ("@every 5 s", "'5 s' is not a duration such as 5s or 1h30m"),
        ("@every 999999h", "999999h is longer than 3650 days"),
        ("TZ=Mars/Olympus 0 0 * * *", "Mars/Olympus is not a time zone"),
        ("TZ=../../etc/passwd 0 0 * * *", "../../etc/passwd is not a time zone"),
    ],
)
def test_what_is_no_schedule_is_refused(schedule: str, message: str) -> None:
    with pytest.raises(ScheduleError) as refused:
        parse_schedule(schedule)
    assert str(refused.value) == message


def test_a_day_that_never_comes_never_runs() -> None:
    assert parse_schedule("0 0 30 2 *").get_next_fire_time(None, SUNDAY) is None


@given(st.text(alphabet="*/?,-0123456789 @everyTZ=sunmh.", max_size=30))
def test_any_text_is_read_or_refused(schedule: str) -> None:
    try:
        parse_schedule(schedule)
    except ScheduleError as refused:
        assert str(refused)
