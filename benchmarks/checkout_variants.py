"""Checkouts that leave something out, to find what it costs. They exist in the benchmark alone.

A variant is a project of its own: a copy of the functions with a few lines put after the end of a file, deployed
beside the real ones under other names. What is put there must change what is stored, or the benchmark refuses to run.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from benchmarks.report import PROJECT, BenchmarkError


@dataclass(frozen=True)
class Variant:
    """A checkout without something: `functions` are new names and what they are copies of."""

    name: str
    functions: Mapping[str, str]
    appended: Mapping[str, str]
    """File, and what comes after its end."""
    replaced: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """File, and which text becomes which other."""

    @property
    def function(self) -> str:
        """The checkout among its functions."""
        return next(name for name, source in self.functions.items() if source == "checkout")


WITHOUT_IDEMPOTENCY = Variant(
    "without idempotency",
    {"checkout-plain": "checkout", "inventory-plain": "inventory"},
    appended={
        # No claim: nobody is kept from working on the same checkout.
        "functions/shared/claims.py": """

@contextmanager
def claimed(connection: Connection, document_id: str) -> Iterator[bool]:
    yield True
""",
        # No answer is kept by inventory, whose reservations checkout makes and commits under a key.
        "functions/shared/idempotency.py": """

Attempt.begin = lambda self, connection: None
Attempt.store = lambda self, connection, answer: None
""",
        # No answer is kept by checkout: it is handed over in memory.
        "functions/checkout/store.py": """

_in_memory = {}
_complete = complete


def complete(connection, checkout, answer):
    _in_memory[checkout.checkout_id] = answer
    return _complete(connection, checkout, StoredAnswer(answer.status, b"", {}))


def read_answer(connection, checkout_id):
    return _in_memory.pop(checkout_id)
""",
    },
    replaced={
        "functions/shared/stock.py": ('call("POST", "inventory", ', 'call("POST", "inventory-plain", '),
    },
)

WITHOUT_STORED_STEPS = Variant(
    "without stored steps",
    {"checkout-forgetful": "checkout"},
    # Only the beginning and the end are stored: the row stays at the first step until it is complete.
    appended={
        "functions/checkout/store.py": """

_complete_at_last = complete


def advance(connection, checkout, following, learnt):
    return True


def complete(connection, checkout, answer):
    return _complete_at_last(connection, checkout.at("freeze"), answer)
""",
    },
    replaced={
        "functions/checkout/store.py": (
            "SET state = 'complete',",
            "SET card_token = NULL, state = 'complete',",
        ),
    },
)

VARIANTS = (WITHOUT_IDEMPOTENCY, WITHOUT_STORED_STEPS)


def make_variant(variant: Variant, directory: Path) -> Path:
    """The variant as a project in `directory`. Raises BenchmarkError when the code is no longer as it expects."""
    project = directory / variant.function
    for folder in ("functions", "template"):
        shutil.copytree(PROJECT / folder, project / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name, (old, new) in variant.replaced.items():
        text = (project / name).read_text()
        if text.count(old) != 1:
            raise BenchmarkError(
                f"{name} no longer has {old!r} once: bring benchmarks/checkout_variants.py up to date"
            )
        (project / name).write_text(text.replace(old, new))
    for name, addition in variant.appended.items():
        with (project / name).open("a") as file:
            file.write(addition)
    (project / "stack.yml").write_text(yaml.safe_dump(_stack(variant), sort_keys=False))
    return project


def _stack(variant: Variant) -> dict[str, object]:
    """stack.yml with the variant's functions alone, each deployed as what it is a copy of."""
    content = yaml.safe_load((PROJECT / "stack.yml").read_text())
    functions = {}
    for name, source in variant.functions.items():
        function = content["functions"][source]
        annotations = {
            key: value for key, value in function["annotations"].items() if key != "localfaas/port"
        }
        functions[name] = {**function, "image": f"benchmark/{name}:latest", "annotations": annotations}
    return {**content, "functions": functions}
