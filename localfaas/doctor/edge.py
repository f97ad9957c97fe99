"""The edge: it serves by the present kong/kong.yml."""

from __future__ import annotations

from localfaas.doctor.finding import Finding, NotLookedAt, shortened, verdict, wrong
from localfaas.doctor.installation import Installation
from localfaas.edge import KongConfigError
from localfaas.edge_reload import EdgeReloadError, changes, entities_of, in_force
from localfaas.scaffold import KONG_FILE


def configuration(installation: Installation) -> list[Finding]:
    """What is in force is what the file says, entity by entity; comments do not count."""
    path = installation.settings.project / KONG_FILE
    if not path.exists():
        raise NotLookedAt("the project has no kong.yml")
    _ = installation.processes
    try:
        wanted = entities_of(path.read_text())
    except KongConfigError as exc:
        raise NotLookedAt(f"{KONG_FILE} cannot be read") from exc
    try:
        present = in_force(installation.settings.url("edge-admin"))
    except EdgeReloadError as exc:
        return [wrong(str(exc), "`localfaas logs api` says why; mend that, then `localfaas up`")]
    changed = list(changes(present, wanted))
    faults = (
        [wrong(f"the edge does not serve by {KONG_FILE}: {shortened(changed)}", "`localfaas edge-reload`")]
        if changed
        else []
    )
    return verdict(faults, f"serves by {KONG_FILE}, {len(wanted)} entities")
