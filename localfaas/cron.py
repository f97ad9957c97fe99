"""Invokes functions on their schedules, as OpenFaaS' cron-connector does on a cluster.

A function asks for it with the annotations `topic: cron-function` and `schedule: "@every 5s"`. Each run is a POST
with an empty body through the function gateway. One function never runs twice at once: a run that comes due while
the last one is still out is left out. Runs missed while this process was away are not made up for.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import requests
from apscheduler.executors.base import BaseExecutor, run_job
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger

from localfaas import loopback
from localfaas.registry import Registry
from localfaas.schedule import ScheduleError, parse_schedule

TOPIC = "cron-function"
CONNECT_SECONDS = 2.0
ANSWER_SECONDS = 15.0
"""As long as the gateway waits for a function, so that a run given up here has ended there too."""
LATE_SECONDS = 30
"""A run that could not begin within this time of coming due is left out."""

log = logging.getLogger("localfaas.cron")


class Schedules:
    """The schedules of all deployed functions, between `start` and `stop`."""

    def __init__(self, gateway_url: str) -> None:
        self._gateway_url = gateway_url.rstrip("/")
        self._known: dict[str, str] = {}
        self._lock = threading.Lock()
        # Two runs of one function are a warning to APScheduler; leaving one out is the rule here.
        logging.getLogger("apscheduler").setLevel(logging.ERROR)
        self._scheduler = BackgroundScheduler(
            timezone="UTC",
            executors={"default": _DaemonThreads()},
            job_defaults={"max_instances": 1, "coalesce": True, "misfire_grace_time": LATE_SECONDS},
        )

    def start(self) -> None:
        self._scheduler.start()

    def stop(self) -> None:
        """Begin no more runs; those that are out end by themselves, or with the process."""
        self._scheduler.shutdown(wait=False)

    def follow(self, registry: Registry) -> None:
        """Take over what is deployed, now and after each change."""

        def changed(name: str) -> None:
            with self._lock:
                desired = registry.get(name)
                self._update(name, desired.deployment.annotations if desired else {})

        registry.subscribe(changed)
        for desired in registry.all():
            changed(desired.name)

    def update(self, name: str, annotations: Mapping[str, str]) -> None:
        """Schedule a function as its annotations ask; without a schedule in them it is not run any more.

        The rhythm of an unchanged schedule goes on. A schedule that cannot be read is logged and not run.
        """
        with self._lock:
            self._update(name, annotations)

    def scheduled(self) -> dict[str, datetime | None]:
        """When each scheduled function runs next; None before `start`."""
        return {job.id: getattr(job, "next_run_time", None) for job in self._scheduler.get_jobs()}

    def _update(self, name: str, annotations: Mapping[str, str]) -> None:
        wanted = annotations.get("schedule", "") if annotations.get("topic") == TOPIC else None
        if self._known.get(name) == wanted:
            return
        if self._known.pop(name, None) is not None and self._scheduler.get_job(name):
            self._scheduler.remove_job(name)
            log.info("%s is not run on that schedule any more", name)
        if wanted is not None:
            self._known[name] = wanted
            self._add(name, wanted)

    def _add(self, name: str, schedule: str) -> None:
        try:
            trigger: BaseTrigger = parse_schedule(schedule)
        except ScheduleError as exc:
            log.error("%s is not run: its schedule %r: %s", name, schedule, exc)  # noqa: TRY400 - the message is all
            return
        self._scheduler.add_job(self._invoke, trigger, args=(name,), id=name)
        log.info("%s is run on the schedule %s", name, schedule)

    def _invoke(self, name: str) -> None:
        try:
            with (
                loopback.session() as session,
                session.post(
                    f"{self._gateway_url}/function/{name}",
                    headers={"X-Topic": TOPIC, "X-Connector": "cron-connector"},
                    timeout=(CONNECT_SECONDS, ANSWER_SECONDS),
                    allow_redirects=False,
                    stream=True,
                ) as response,
            ):
                if not response.ok:
                    log.warning("the scheduled run of %s answered %d", name, response.status_code)
        except requests.RequestException as exc:
            log.warning("the scheduled run of %s failed: %s", name, exc)


class _DaemonThreads(BaseExecutor):  # type: ignore[misc] # APScheduler has no types
    """One daemon thread a run, so that a run that is out does not keep this process from ending."""

    def _do_submit_job(self, job: Any, run_times: list[datetime]) -> None:
        threading.Thread(target=self._run, args=(job, run_times), name=f"cron-{job.id}", daemon=True).start()

    def _run(self, job: Any, run_times: list[datetime]) -> None:
        try:
            events = run_job(job, job._jobstore_alias, run_times, self._logger.name)
        except BaseException:
            self._run_job_error(job.id, *sys.exc_info()[1:])
        else:
            self._run_job_success(job.id, events)
