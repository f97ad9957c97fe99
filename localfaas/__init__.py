"""localfaas: OpenFaaS functions behind a gateway and an edge, on one machine, without containers. It knows no shop.

The command: `cli.py` parses; `up.py`, `down.py`, `deploy.py`, `status.py`, `doctor/`, `logs.py`, `backup.py`, `restore.py`
and `scaffold.py` do what their verbs say. The process that `serve.py` runs: `api/` answers OpenFaaS' REST API, `replicas.py`
and `rollout.py` bring what runs to what is wanted, `cron.py` and `schedule.py` invoke, `gateway*.py` write the function
gateway's Envoy and `edge/` the edge's. What a project says: `settings.py`, `stack.py`, `project.py`, `substitution.py`,
`placed_yaml.py`. What is deployed: `deployment.py`, `registry.py`, `images.py`, `build.py`, `interpreter.py`, `templates/`.
What runs in or before a replica: `watchdog.py`, `private_mount.py`, `replica_program.py`, `drain.py`. Processes:
`supervisor.py`, `supervisord.py`, `platform.py`, `ports.py`, `strays.py`, `rotation.py`; `postgres.py` and `database.py`;
`monitoring/`, `dashboards/` and `traces/` watch. `commands.py` is how messages name commands, `whole_files.py` how files are replaced.
"""

__version__ = "0.1.0"
