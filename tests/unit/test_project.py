"""localfaas.yml: optional, small, and refused by key when wrong."""

import pytest

from localfaas.project import Hooks, ProjectError, load_hooks, run_hook
from localfaas.settings import Settings


def test_project_without_the_file_has_no_hooks(tmp_path):
    assert load_hooks(tmp_path) == Hooks()


def test_hooks_are_read(tmp_path):
    (tmp_path / "localfaas.yml").write_text("check: /api/x\ntry:\n  - curl it\n")
    assert load_hooks(tmp_path) == Hooks(check="/api/x", try_next=("curl it",))


@pytest.mark.parametrize("text", ["nonsense: 1", "check: [a]", "- a", "try: once", "check: {", "check: 5"])
def test_wrong_file_is_refused_with_its_path(tmp_path, text):
    (tmp_path / "localfaas.yml").write_text(text)
    with pytest.raises(ProjectError, match=r"localfaas\.yml"):
        load_hooks(tmp_path)


def test_hook_runs_in_the_project_with_the_platforms_addresses(tmp_path):
    settings = Settings.load({"PORT_OFFSET": "1000"}, tmp_path)
    run_hook(settings, "secrets", "python -c \"import os; open('seen','w').write(os.environ['EDGE_URL'])\"")
    assert (tmp_path / "seen").read_text() == "http://127.0.0.1:9000"


def test_failing_hook_is_named(tmp_path):
    with pytest.raises(ProjectError, match="secrets command"):
        run_hook(Settings.load({}, tmp_path), "secrets", "false")
