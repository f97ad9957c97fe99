"""supervisord itself: its configuration, and its start. Everything else about it is in supervisor.py."""

from __future__ import annotations

import os
import subprocess
import time

from localfaas.open_files import allow_open_files
from localfaas.settings import Settings
from localfaas.supervisor import PLATFORM_MARK, Supervisor, SupervisorError, ini_value, starts_file


def render_main(settings: Settings) -> str:
    """The text of supervisord.conf; what it and its programs write is for their user alone."""
    run, logs = ini_value(settings.run), ini_value(settings.logs)
    return f"""[supervisord]
logfile={logs}/supervisord.log
logfile_maxbytes=10MB
logfile_backups=1
pidfile={run}/supervisord.pid
childlogdir={logs}
directory={ini_value(settings.state)}
umask=077
minfds=4096
silent=true

[unix_http_server]
file={ini_value(settings.supervisor_socket)}
chmod=0600

[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface

[supervisorctl]
serverurl=unix://{ini_value(settings.supervisor_socket)}

[include]
files={ini_value(settings.supervisor)}/conf.d/*.conf
"""


def start_supervisord(settings: Settings, timeout: float = 10.0) -> None:
    """Start supervisord as a daemon with what is written below `supervisor/`."""
    for folder in (settings.run, settings.logs, settings.supervisor / "conf.d"):
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
    configuration = settings.supervisor / "supervisord.conf"
    configuration.write_text(render_main(settings))
    for starts in starts_file(settings, "").glob("*"):
        starts.unlink()
    settings.supervisor_socket.unlink(missing_ok=True)
    allow_open_files()
    subprocess.run(
        [settings.programs / "supervisord", "-c", configuration],
        check=True,
        env={**os.environ, PLATFORM_MARK: str(settings.state)},
        stdin=subprocess.DEVNULL,
        umask=0o077,  # for its own log, which it opens before it does as its file says
        capture_output=True,
        text=True,
    )
    supervisor, deadline = Supervisor(settings), time.monotonic() + timeout
    while not supervisor.is_running():
        if time.monotonic() > deadline:
            raise SupervisorError(f"supervisord did not start; see {settings.logs / 'supervisord.log'}")
        time.sleep(0.05)
