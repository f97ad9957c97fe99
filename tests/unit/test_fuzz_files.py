"""Files that people write, broken at random: each is read, or refused in a sentence that says where.

The seeds are the project's own files, so that most of what is generated comes far before it is refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from db.seed.retail_catalogue import read_catalogue
from db.seed.retail_file import RetailFile, UnusableFileError
from db.seed.retail_sales import plan_sales
from localfaas.edge.compile import compile_edge
from localfaas.edge.entities import COLLECTIONS
from localfaas.edge.errors import Fault, KongConfigError
from localfaas.edge.parse import ENTITIES, parse
from localfaas.edge.plugins import KINDS
from localfaas.edge.resolve import platform_resolver
from localfaas.stack import StackError, load_stack
from tests.support.effort import examples

PROJECT = Path(__file__).parents[2]
KONG = (PROJECT / "kong" / "kong.yml").read_text()
STACK = (PROJECT / "stack.yml").read_text()
RESOLVE = platform_resolver(("127.0.0.1", 8080))
SALES = """InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country
536365,85123A,WHITE LANTERN,6,2010-12-01 08:26,2.55,17850,United Kingdom
C536379,D,Discount,-1,2010-12-01 09:41,27.50,14527,United Kingdom
536414,22139,,56,12/1/2010 11:52,0,,United Kingdom
536365,POST,"POSTAGE, AND MORE",1,2010-12-01 08:26,18,17850,"Ireland"
"""
NASTY = [
    "0x_", "!!int x", "!!bool maybe", "!!float .", "!!timestamp x", "!!binary 7", "!!null {a: b}", "!!set {a}", "!!merge x",
    "2026-99-99", "2026-01-05 10:00:00", "1:59:59", ".nan", ".inf", "-.inf", "9" * 5000, "1e999", "~", "<<", "&a [*a]", "*a",
    "&a", "{<<: [*a, *a]}", "? [a]", "'", '"', '"\\UFFFFFFFF"', '"\\ud800"', '"\\0"', "\t", "\x00", "\x7f", "\x85", "\u2028", "\ufeff",
    "\U0001f600", "---", "...", "%YAML 9.9", "${a:-", "${", "$$", "}", "]", "- ", ": ", "[" * 400, "{a: " * 400, "x" * 400, "/", "~/(",
    "é", ",", ";", "\n", "\r", "\r\n", "-0", "+", "NULL", "\\",
]  # fmt: skip


@st.composite
def damaged(draw: st.DrawFn, seed: str) -> str:
    """The seed with one to four pieces cut out, each replaced by something nasty, by another piece, or by any text."""
    text = seed
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.sampled_from([0, 1, 1, 2, 5, 20, 200])))
        other = draw(st.integers(0, len(text)))
        piece = draw(st.sampled_from(NASTY) | st.just(text[other : other + 60]) | st.text(max_size=6))
        text = text[:start] + piece + text[end:]
    return text


@st.composite
def damaged_value(draw: st.DrawFn, seed: str) -> str:
    """The seed with the value of one to three of its lines replaced, so that what is around it stays right."""
    lines = seed.splitlines()
    places = [place for place, line in enumerate(lines) if re.match(r"[\s-]*[\w-]+:", line)]
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.sampled_from(places))
        key = lines[place].partition(":")[0]
        lines[place] = f"{key}: {draw(st.sampled_from(NASTY) | PLAIN.map(json.dumps))}"
    return "\n".join(lines)


PLAIN: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2**40) | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)
WORDS = st.sampled_from(
    ["a", "cors", "http", "https", "GET", "/a", "~/a", "1.2.3.4:80", "http://a/b", "x-a: b", "S"]
)


def _entities(collection: str) -> st.SearchStrategy[dict[str, Any]]:
    fields = st.sampled_from(sorted(ENTITIES[collection].fields))
    values = PLAIN | WORDS | st.lists(WORDS, max_size=3)
    nested = {"services": ["routes", "plugins"], "routes": ["plugins"], "upstreams": ["targets"]}
    names = st.sampled_from(sorted(KINDS))
    below = [st.fixed_dictionaries({name: st.deferred(lambda name=name: LISTS[name])}) for name in nested.get(collection, ())]  # fmt: skip
    known = (
        st.fixed_dictionaries({"name": names | WORDS, "host": WORDS})
        if collection != "targets"
        else st.just({})
    )
    parts = [st.dictionaries(fields, values, max_size=4), known, *below]
    return st.tuples(*parts).map(lambda found: {key: value for part in found for key, value in part.items()})


LISTS: dict[str, st.SearchStrategy[Any]] = {
    name: st.lists(_entities(name), max_size=2) | PLAIN for name in COLLECTIONS
}
CONFIGURATIONS = st.dictionaries(st.sampled_from(sorted(COLLECTIONS)), st.one_of(*LISTS.values()), max_size=3)
WITHOUT_A_LINE = re.compile(r"expected an object$|nested too deeply$|half a surrogate pair")


def check_kong(text: str) -> None:
    """Raises AssertionError, or whatever was raised that is no refusal: what is read is compiled for Envoy as well."""
    try:
        configuration = parse(text)
    except KongConfigError as refused:
        assert refused.faults, "refused without a reason"
        assert all(map(is_placed, refused.faults)), str(refused)
        json.dumps([refused.body(), refused.flattened_body()])
    else:
        compiled = compile_edge(configuration, RESOLVE, {}, eds_source=lambda name: {"path": name})
        json.dumps([compiled.clusters, compiled.endpoints, compiled.routes], allow_nan=False)


def is_placed(fault: Fault) -> bool:
    return bool(
        (fault.position is not None and fault.place)
        or re.search(r": \d+:\d+: ", fault.text)
        or WITHOUT_A_LINE.search(fault.text)
    )


@examples(120, 5_000)
@given(damaged(KONG))
@example(KONG)
@example("")
def test_any_damage_to_kong_yml_is_read_or_refused_at_its_place(text: str) -> None:
    check_kong(text)


@examples(120, 5_000)
@given(damaged_value(KONG))
def test_any_value_in_kong_yml_is_read_or_refused_at_its_place(text: str) -> None:
    check_kong(text)


@examples(150, 5_000)
@given(CONFIGURATIONS)
def test_any_entities_are_read_or_refused_at_their_place(configuration: dict[str, Any]) -> None:
    check_kong(json.dumps({"_format_version": "3.0", **configuration}))


@examples(150, 5_000)
@given(st.text())
def test_any_text_is_no_other_exception(text: str) -> None:
    check_kong(text)


def test_the_check_finds_a_parser_that_trips_and_one_that_says_no_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def trip(_: str) -> None:
        raise KeyError("services")

    def mumble(_: str) -> None:
        raise KongConfigError([Fault((), "something is wrong")])

    for fault, expected in ((trip, KeyError), (mumble, AssertionError)):
        with monkeypatch.context() as patched, pytest.raises(expected):
            patched.setattr(f"{__name__}.parse", fault)
            check_kong(KONG)
    monkeypatch.setattr(f"{__name__}.compile_edge", lambda configuration, *_, **__: trip(""))
    with pytest.raises(KeyError):
        check_kong(KONG)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("project")
    for template in (PROJECT / "template").glob("*/template.yml"):
        copied = directory / "template" / template.parent.name / "template.yml"
        copied.parent.mkdir(parents=True)
        copied.write_bytes(template.read_bytes())
    return directory


def check_stack(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    try:
        stack = load_stack(path, {"OWNER": "someone"})
    except StackError as refused:
        told = str(refused)
        assert "\n" not in told, told
        assert told.startswith(("stack.yml", "no template for the language")), told
    else:
        json.dumps([function.deployment() for function in stack.functions.values()])
        assert all(warning.startswith("stack.yml:") for warning in stack.warnings)


@examples(60, 5_000)
@given(damaged(STACK) | damaged_value(STACK))
@example(STACK)
def test_any_damage_to_stack_yml_is_read_or_refused_in_a_line(project: Path, text: str) -> None:
    check_stack(project / "stack.yml", text.encode("utf-8", "surrogatepass"))


@examples(80, 5_000)
@given(st.binary(max_size=80) | st.text(max_size=80).map(str.encode))
def test_any_bytes_for_stack_yml_are_read_or_refused_in_a_line(project: Path, content: bytes) -> None:
    check_stack(project / "stack.yml", content)


def test_the_projects_own_seeds_are_good() -> None:
    assert parse(KONG).services
    assert yaml.safe_load(STACK)["functions"]


@pytest.fixture(scope="module")
def sales(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sales") / "sales.csv"


def check_sales(path: Path, content: bytes) -> None:
    """Each line of the file is accounted for, or the file is refused in a line that names it."""
    path.write_bytes(content)
    try:
        lines = list(RetailFile.open(path).lines())
    except UnusableFileError as refused:
        assert str(path) in str(refused)
        assert "\n" not in str(refused), str(refused)
        return
    catalogue = read_catalogue(lines)
    plan = plan_sales(lines, {product.sku for product in catalogue.products})
    recorded = sum(len(document.entries) for document in plan.documents)
    assert (catalogue.line_count, recorded + len(plan.left_out)) == (len(lines), len(lines))
    assert all(product.price_cents > 0 and 0 < len(product.name) <= 200 for product in catalogue.products)


ENCODINGS: list[Callable[[str], bytes]] = [
    lambda text: text.encode("utf-8", "replace"),
    lambda text: text.encode("utf-16", "replace"),
    lambda text: text.encode("latin-1", "replace"),
    lambda text: text.encode("utf-8", "replace").replace(b",", b";"),
    lambda text: text.encode("utf-8", "replace")[:-3] + b"\xff\xfe",
]


@examples(120, 5_000)
@given(damaged(SALES), st.sampled_from(ENCODINGS))
@example(SALES, ENCODINGS[0])
def test_any_damage_to_a_sales_file_is_accounted_for_or_refused(
    sales: Path, text: str, encoded: Callable[[str], bytes]
) -> None:
    check_sales(sales, encoded(text))


@examples(120, 5_000)
@given(st.binary(max_size=60).map(lambda tail: SALES.encode()[:90] + tail) | st.binary(max_size=100))
def test_any_bytes_for_a_sales_file_are_accounted_for_or_refused(sales: Path, content: bytes) -> None:
    check_sales(sales, content)
