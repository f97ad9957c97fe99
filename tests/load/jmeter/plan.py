"""The scenario as a JMeter plan: the same scenario gives the same text.

Each kind of visit is an Open Model Thread Group (JMeter 5.5 and later), whose visits come at random at a rate that does
not wait for answers. Which journey runs, and in which shape, is said by properties (`schedules`); what visits begin
with is read from a CSV file (COLUMNS). The plan asks 127.0.0.1 and nobody else.
"""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable

from tests.load.scenario import GIVEN, PLACE, Ask, Scenario, Stage

COLUMNS = (*sorted(GIVEN), "customer_token", "staff_token")
QUIET_SECONDS = 10
"""After the last arrival, so that visits under way end by themselves."""
NOBODY = "pause(1 sec)"
TIMEOUT_MS = 20_000
SUBSTRING, EQUALS, ANY_OF = 16, 8, 32
"""Ways of a response assertion, added up."""


def property_of(journey: str, kind: str) -> str:
    return f"load.{journey}.{kind}"


def schedules(scenario: Scenario, journey: str, shape: str) -> dict[str, str]:
    """The properties that make this journey run in this shape, and no other."""
    return {
        property_of(journey, kind): schedule(scenario.shapes[shape], visit.of_100)
        for kind, visit in scenario.journeys[journey].items()
    }


def schedule(stages: Iterable[Stage], of_100: int) -> str:
    """A shape in the words of the Open Model Thread Group, for that share of its visits."""
    parts = [
        f"rate({stage.begin * of_100 / 100:g}/sec) random_arrivals({stage.seconds} sec) rate({stage.end * of_100 / 100:g}/sec)"
        for stage in stages
    ]
    return " ".join([*parts, f"pause({QUIET_SECONDS} sec)"])


def render(scenario: Scenario) -> str:
    """The plan's XML."""
    root = ET.Element("jmeterTestPlan", version="1.2", properties="5.0", jmeter="5.6.3")
    top = ET.SubElement(root, "hashTree")
    plan = _add(top, "TestPlan", "TestPlanGui", "Magasin")
    _text(
        plan[0],
        "TestPlan.comments",
        "Made from tests/load/scenario.json by python -m tests.load.jmeter; do not edit.",
    )
    _defaults(plan[1])
    for journey, visits in scenario.journeys.items():
        for kind, visit in visits.items():
            group = _group(plan[1], journey, kind)
            for ask in scenario.asks(visit):
                _sampler(group, ask)
    ET.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


_Made = tuple[ET.Element, ET.Element]
"""An element of the plan, and the hashTree after it, which holds what is below it."""


def _add(parent: ET.Element, kind: str, gui: str, name: str) -> _Made:
    element = ET.SubElement(parent, kind, guiclass=gui, testclass=kind, testname=name)
    return element, ET.SubElement(parent, "hashTree")


def _text(parent: ET.Element, name: str, value: object) -> None:
    ET.SubElement(parent, "stringProp", name=name).text = str(value)


def _flag(parent: ET.Element, name: str, value: bool) -> None:
    ET.SubElement(parent, "boolProp", name=name).text = str(value).lower()


def _defaults(tree: ET.Element) -> None:
    element, _ = _add(tree, "ConfigTestElement", "HttpDefaultsGui", "The edge, on this machine")
    _text(element, "HTTPSampler.domain", "127.0.0.1")
    _text(element, "HTTPSampler.port", "${__P(load.port,8000)}")
    _text(element, "HTTPSampler.protocol", "http")
    _text(element, "HTTPSampler.connect_timeout", TIMEOUT_MS)
    _text(element, "HTTPSampler.response_timeout", TIMEOUT_MS)


def _group(tree: ET.Element, journey: str, kind: str) -> ET.Element:
    element, below = _add(tree, "OpenModelThreadGroup", "OpenModelThreadGroupGui", f"{journey}: {kind}")
    _text(element, "OpenModelThreadGroup.schedule", f"${{__P({property_of(journey, kind)},{NOBODY})}}")
    _text(element, "OpenModelThreadGroup.random_seed", "")
    _text(element, "ThreadGroup.on_sample_error", "stopthread")
    ET.SubElement(
        element,
        "elementProp",
        name="ThreadGroup.main_controller",
        elementType="OpenModelThreadGroupController",
    )
    rows, _ = _add(below, "CSVDataSet", "TestBeanGUI", "What visits begin with")
    _text(rows, "filename", "${__P(load.feed,feed.csv)}")
    _text(rows, "fileEncoding", "UTF-8")
    _text(rows, "variableNames", ",".join(COLUMNS))
    _text(rows, "delimiter", ",")
    _text(rows, "shareMode", "shareMode.group")
    for name, value in {
        "ignoreFirstLine": True, "quotedData": True, "recycle": True, "stopThread": False,
    }.items():  # fmt: skip
        _flag(rows, name, value)
    return below


def _sampler(tree: ET.Element, ask: Ask) -> None:
    element, below = _add(tree, "HTTPSamplerProxy", "HttpTestSampleGui", ask.name)
    _text(element, "HTTPSampler.method", ask.method)
    _text(element, "HTTPSampler.path", ask.path)
    _text(element, "HTTPSampler.contentEncoding", "UTF-8")
    for name, value in {"use_keepalive": True, "follow_redirects": False, "auto_redirects": False}.items():
        _flag(element, f"HTTPSampler.{name}", value)
    _body(element, ask)
    _headers(below, ask)
    _taking(below, ask)
    _asserting(below, ask)


def _body(element: ET.Element, ask: Ask) -> None:
    arguments = ET.SubElement(element, "elementProp", name="HTTPsampler.Arguments", elementType="Arguments")
    collection = ET.SubElement(arguments, "collectionProp", name="Arguments.arguments")
    if ask.body is None:
        return
    _flag(element, "HTTPSampler.postBodyRaw", True)
    argument = ET.SubElement(collection, "elementProp", name="", elementType="HTTPArgument")
    _flag(argument, "HTTPArgument.always_encode", False)
    _text(argument, "Argument.value", body_text(ask))
    _text(argument, "Argument.metadata", "=")


def body_text(ask: Ask) -> str:
    """The body as JSON, in which `"${value:json}"` has become `${value}`, without quotes."""
    text = json.dumps(ask.body, ensure_ascii=False)
    return re.sub(r'"\$\{([a-z_]+):json\}"', r"${\1}", text)


def _headers(tree: ET.Element, ask: Ask) -> None:
    headers = dict(ask.headers)
    if ask.who != "visitor":
        headers["Authorization"] = f"Bearer ${{{ask.who}_token}}"
    if ask.method == "POST":
        headers["Idempotency-Key"] = "${__UUID()}"
    if ask.body is not None:
        headers["Content-Type"] = "application/json"
    if not headers:
        return
    element, _ = _add(tree, "HeaderManager", "HeaderPanel", "headers")
    collection = ET.SubElement(element, "collectionProp", name="HeaderManager.headers")
    for name, value in headers.items():
        header = ET.SubElement(collection, "elementProp", name="", elementType="Header")
        _text(header, "Header.name", name)
        _text(header, "Header.value", value)


def _taking(tree: ET.Element, ask: Ask) -> None:
    for name, source in ask.take.items():
        if source.startswith("header "):
            element, _ = _add(tree, "RegexExtractor", "RegexExtractorGui", f"take {name}")
            _text(element, "RegexExtractor.useHeaders", "true")
            _text(element, "RegexExtractor.refname", name)
            _text(element, "RegexExtractor.regex", rf"(?i){source.removeprefix('header ')}: (\S+)")
            _text(element, "RegexExtractor.template", "$1$")
            _text(element, "RegexExtractor.default", "NOT_FOUND")
            _text(element, "RegexExtractor.match_number", 1)
        else:
            element, _ = _add(tree, "JSONPostProcessor", "JSONPostProcessorGui", f"take {name}")
            _text(element, "JSONPostProcessor.referenceNames", name)
            _text(element, "JSONPostProcessor.jsonPathExprs", json_path(source))
            _text(element, "JSONPostProcessor.match_numbers", 1)
            _text(element, "JSONPostProcessor.defaultValues", "NOT_FOUND")


def _asserting(tree: ET.Element, ask: Ask) -> None:
    statuses = [str(status) for status in ask.status]
    ways = EQUALS | (ANY_OF if len(statuses) > 1 else 0)
    _response(tree, "answers as it should", "Assertion.response_code", statuses, ways, assume_success=True)
    for path, wanted in ask.answer.items():
        element, _ = _add(tree, "JSONPathAssertion", "JSONPathAssertionGui", f"has {path}")
        _text(element, "JSON_PATH", json_path(path))
        _text(element, "EXPECTED_VALUE", "" if wanted == "*" else _plain(wanted))
        _flag(element, "JSONVALIDATION", wanted != "*")
        for name in ("EXPECT_NULL", "INVERT", "ISREGEX"):
            _flag(element, name, False)
    if ask.contains:
        found = _plain(ask.contains)
        _response(tree, f"contains {found}", "Assertion.response_data", [found], SUBSTRING)


def _response(
    tree: ET.Element, name: str, part: str, texts: list[str], ways: int, *, assume_success: bool = False
) -> None:
    element, _ = _add(tree, "ResponseAssertion", "AssertionGui", name)
    collection = ET.SubElement(element, "collectionProp", name="Asserion.test_strings")
    for text in texts:
        _text(collection, text, text)
    _text(element, "Assertion.test_field", part)
    _flag(element, "Assertion.assume_success", assume_success)
    ET.SubElement(element, "intProp", name="Assertion.test_type").text = str(ways)


def _plain(text: str) -> str:
    return PLACE.sub(r"${\1}", text)


def json_path(path: str) -> str:
    """`items.0.sku` as JSONPath: `$.items[0].sku`."""
    return "$" + "".join(f"[{part}]" if part.isdecimal() else f".{part}" for part in path.split("."))
