"""The checkouts that the benchmark leaves something out of can still be made from the code as it is."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from benchmarks.checkout import shares
from benchmarks.checkout_variants import VARIANTS, Variant, make_variant
from benchmarks.report import BenchmarkError
from benchmarks.telemetry_switch import WITH_SWITCH


@pytest.mark.parametrize("variant", (*VARIANTS, WITH_SWITCH), ids=lambda variant: variant.function)
def test_variant_is_a_project_whose_changed_files_compile(variant: Variant, tmp_path: Path):
    project = make_variant(variant, tmp_path)
    for name in [*variant.appended, *variant.replaced]:
        compile((project / name).read_text(), name, "exec")
    functions = yaml.safe_load((project / "stack.yml").read_text())["functions"]
    assert set(functions) == set(variant.functions)
    assert all("localfaas/port" not in function["annotations"] for function in functions.values())


def test_variant_that_no_longer_fits_the_code_is_refused(tmp_path: Path):
    variant = Variant("x", {"x": "checkout"}, {}, {"functions/checkout/store.py": ("no such text", "")})
    with pytest.raises(BenchmarkError, match="bring benchmarks/checkout_variants"):
        make_variant(variant, tmp_path)


def test_shares_are_those_of_the_medians():
    found = shares({"freeze": [1.0, 9.0, 3.0], "price": [1.0]})
    assert found == [("freeze", 3.0, 0.75), ("price", 1.0, 0.25)]
