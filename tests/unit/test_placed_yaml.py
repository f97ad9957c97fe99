import pytest
from hypothesis import given
from hypothesis import strategies as st

from localfaas.placed_yaml import PlacedYamlError, read_yaml

# As gopkg.in/yaml.v3 reads these into a Go map[string]string.
SEEN = {
    "a: 5": {"a": "5"},
    "a: 1.0": {"a": "1.0"},
    "a: true": {"a": "true"},
    "a: Yes": {"a": "Yes"},
    "a: null": {"a": ""},
    "a:": {"a": ""},
    "a: ~": {"a": ""},
    "a: 0x1F": {"a": "0x1F"},
    "a: 0o17": {"a": "0o17"},
    "a: 1_000": {"a": "1_000"},
    "a: 1e3": {"a": "1e3"},
    "a: .5": {"a": ".5"},
    "a: 2020-01-01": {"a": "2020-01-01"},
    "a: 'q'": {"a": "q"},
    "a: !!str 5": {"a": "5"},
    "a: !foo 5": {"a": "5"},
    "a: |\n  x\n  y\n": {"a": "x\ny\n"},
    "1: x": {"1": "x"},
    "true: y": {"true": "y"},
    "<<: {z: 1}\na: 2": {"a": "2", "z": "1"},
    "<<: [{z: 1}, {z: 2, y: 3}]": {"y": "3", "z": "1"},
    "{}": {},
    "": {},
}


@pytest.mark.parametrize("text", SEEN)
def test_scalars_are_their_source_text(text: str) -> None:
    assert read_yaml(text, "f.yml").text_map() == SEEN[text]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("a: [1]", "f.yml:1: a must be text, not a list"),
        ("x: 1\na:\n  b: 1", "f.yml:3: a must be text, not a mapping"),
        ("- a", "f.yml:1: the file must be a mapping, not a list"),
        ("text", "f.yml:1: the file must be a mapping, not the text 'text'"),
        ("a: 1\na: 2", "f.yml:2: the file has the key 'a' twice"),
        ("? [a]\n: b", "f.yml:1: the file has a key that is not text"),
        ('"a\\nb": [1]', "f.yml:1: a\\nb must be text, not a list"),
        ("<<: 5", "f.yml:1: the file can only merge mappings"),
        ("&a\n<<: *a\nb: 1", "f.yml:1: the file merges itself"),
        ("a: *nobody", "f.yml:1: not valid YAML: found undefined alias 'nobody'"),
        (
            "a: 1\n---\nb: 2",
            "f.yml:2: not valid YAML: expected a single document in the stream, but found another document",
        ),
        (
            "a: 1\n\tb: 2",
            "f.yml:2: not valid YAML: while scanning for the next token, found character '\\t' that cannot start any token",
        ),
        ("a: 1\nb: \x07", "f.yml:2: not valid YAML: the character '\\x07' is not allowed"),
    ],
)
def test_a_fault_names_file_line_and_key(text: str, fault: str) -> None:
    with pytest.raises(PlacedYamlError) as refused:
        read_yaml(text, "f.yml").text_map()
    assert str(refused.value) == fault


@pytest.mark.parametrize(
    ("text", "flag"), [("yes", True), ("on", True), ("False", False), ("", False), ("~", False)]
)
def test_flags_are_yaml_booleans(text: str, flag: bool) -> None:
    assert read_yaml(f"a: {text}", "f.yml").mapping()["a"].flag() is flag


@pytest.mark.parametrize("text", ["'true'", "1", "[]"])
def test_nothing_else_is_a_flag(text: str) -> None:
    with pytest.raises(PlacedYamlError, match="a must be true or false"):
        read_yaml(f"a: {text}", "f.yml").mapping()["a"].flag()


def test_an_empty_item_of_a_list_is_refused() -> None:
    with pytest.raises(PlacedYamlError, match=r"f.yml:2: a\[1\] must not be empty"):
        read_yaml("a: [x,\n  null]", "f.yml").mapping()["a"].texts()


def test_deep_nesting_is_refused_and_not_a_crash() -> None:
    with pytest.raises(PlacedYamlError, match="not valid YAML"):
        read_yaml("[" * 100_000, "f.yml")


def test_aliases_of_aliases_cost_nothing() -> None:
    lines = ["a0: &a0 [x]", *(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 40)), "b: y"]
    assert read_yaml("\n".join(lines), "f.yml").mapping()["b"].text() == "y"


@given(st.text(alphabet="ab:-[]{}&*<!|>'\"#?,\n \t%@~1\x00\ud800é", max_size=60))
def test_any_text_is_read_or_refused_in_one_line(text: str) -> None:
    try:
        read_yaml(text, "f.yml").text_map()
    except PlacedYamlError as refused:
        assert str(refused).startswith("f.yml")
        assert "\n" not in str(refused)
