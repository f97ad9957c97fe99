import pytest
from hypothesis import given
from hypothesis import strategies as st

from localfaas.substitution import SubstitutionError, substitute

ENVIRON = {"A": "x", "E": "", "U": "café"}

# As faas-cli's own library (drone/envsubst 1.0.3) answers each of these.
SEEN = {
    "${A}": "x",
    "${E}": "",
    "${N}": "",
    "${N:-d}": "d",
    "${E:-d}": "d",
    "${A:-d}": "x",
    "${N:-http://h:8080/p}": "http://h:8080/p",
    "${N:-${A}}": "x",
    "${N:-a${A}b}": "axb",
    "${N:-a${M:-z}b}": "azb",
    "${N:-$${A}}": "$x",
    "${N:-a\\\\b}": "a\\\\b",
    "${N:-a}b}": "ab}",
    "${N:-d$}": "d$",
    "${N:-a:-b}": "a:-b",
    "${N:--}": "-",
    "${N:- d }": " d ",
    "${N:-}": "",
    "${N:=d}": "d",
    "${N=d}": "d",
    "${9:-d}": "d",
    "${U}": "café",
    "${é:-d}": "d",
    "$A": "$A",
    "$${A}": "${A}",
    "$$": "$",
    "$$A": "$A",
    "$$$${A}": "$${A}",
    "$$${A}": "$x",
    "é$${A}": "é${A}",
    "a\\\\b": "a\\b",
    "a\\/b": "a/b",
    "a\\nb": "a\\nb",
    "}{": "}{",
    "cost $": "cost $",
    "$ {A}": "$ {A}",
}


@pytest.mark.parametrize("text", SEEN)
def test_variables_become_what_faas_cli_makes_of_them(text: str) -> None:
    assert substitute(text, ENVIRON) == SEEN[text]


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("${N-d}", "a default is written `${N:-default}`"),
        ("${A:1}", "`${A:…}` is not supported"),
        ("${A^^}", "`${A^^…}` is not supported"),
        ("${N//a/b}", "`${N//…}` is not supported"),
        ("${A:+alt}", "`${A:+…}` is not supported"),
        ("${A.B}", "is not supported"),
        ("${#A}", "must be followed by the name of a variable"),
        ("${}", "must be followed by the name of a variable"),
        ("${ A }", "must be followed by the name of a variable"),
        ("${A", "`${A` has no closing brace"),
        ("${A B}", "`${A` has no closing brace"),
        ("${N:-d", "`${` has no closing brace"),
        ("${N:-${A}", "`${` has no closing brace"),
    ],
)
def test_what_is_not_a_variable_is_refused_with_its_line(text: str, part: str) -> None:
    with pytest.raises(SubstitutionError) as refused:
        substitute(f"first\nsecond {text}", ENVIRON)
    assert part in str(refused.value)
    assert refused.value.line == 2


def test_a_value_is_not_replaced_again() -> None:
    assert substitute("${A}", {"A": "${B}", "B": "no"}) == "${B}"


@given(st.text(alphabet="${}:-=A\\/ b\n"))
def test_any_text_is_replaced_or_refused_within_its_lines(text: str) -> None:
    try:
        substitute(text, ENVIRON)
    except SubstitutionError as refused:
        assert 1 <= refused.line <= text.count("\n") + 1
