import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from localfaas.stack import OWN_TEMPLATES, Stack, StackError, load_stack, load_template, stack_file

HEADER = "version: 1.0\nprovider:\n  name: openfaas\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    template = tmp_path / "template" / "python3-own"
    (template / "function").mkdir(parents=True)
    (template / "template.yml").write_text("language: python3\nfprocess: python index.py\n")
    (tmp_path / "hello").mkdir()
    return tmp_path


def load(project: Path, functions: str, environ: dict[str, str] | None = None) -> Stack:
    path = project / "stack.yml"
    path.write_text(f"{HEADER}functions:\n{functions}")
    return load_stack(path, environ or {})


def refusal(project: Path, text: str) -> str:
    path = project / "stack.yml"
    path.write_text(text)
    with pytest.raises(StackError) as refused:
        load_stack(path, {})
    return str(refused.value)


def test_functions_keep_the_order_of_the_file(project: Path) -> None:
    stack = load(project, "  b: {image: b}\n  a: {image: a}\n  c: {image: c}\n")
    assert list(stack.functions) == ["b", "a", "c"]


def test_variables_are_replaced_everywhere(project: Path) -> None:
    stack = load(
        project, "  a:\n    image: ${SERVER:-ghcr.io}/${OWNER:-me}/a:${TAG:-latest}\n", {"OWNER": "you"}
    )
    assert stack.functions["a"].image == "ghcr.io/you/a:latest"


def test_the_process_is_the_templates_unless_the_function_names_one(project: Path) -> None:
    stack = load(
        project,
        "  a: {lang: python3-own, handler: ./hello, image: a}\n"
        "  b: {lang: python3-own, handler: ./hello, image: b, fprocess: python other.py}\n"
        "  c: {image: c}\n",
    )
    assert [one.fprocess for one in stack.functions.values()] == ["python index.py", "python other.py", ""]


def test_environment_files_cover_inline_values_in_their_order(project: Path) -> None:
    (project / "one.yml").write_text("environment:\n  a: one\n  b: one\n")
    (project / "two.yml").write_text("environment:\n  b: 2\n  c: true\n")
    stack = load(
        project,
        "  f:\n    image: f\n    environment: {a: inline, b: inline, d: 1.0, e: null}\n"
        "    environment_file: [one.yml, two.yml]\n",
    )
    assert stack.functions["f"].environment == {"a": "one", "b": "2", "c": "true", "d": "1.0", "e": ""}


def test_an_environment_file_that_is_missing_is_named(project: Path) -> None:
    text = f"{HEADER}functions:\n  f:\n    image: f\n    environment_file: [nowhere.yml]\n"
    assert refusal(project, text).startswith("stack.yml:7: functions.f.environment_file[0] names no file: ")


def test_an_environment_file_that_is_wrong_is_named(project: Path) -> None:
    (project / "env.yml").write_text("environment: [a]\n")
    text = f"{HEADER}functions:\n  f:\n    image: f\n    environment_file: [env.yml]\n"
    assert refusal(project, text) == "env.yml:1: environment must be a mapping, not a list"


def test_an_unknown_language_says_where_templates_are_looked_for(project: Path) -> None:
    text = f"{HEADER}functions:\n  f: {{lang: cobol, handler: ./hello, image: f}}\n"
    assert refusal(project, text) == (
        f"no template for the language 'cobol': looked for {project}/template/<language>/template.yml, "
        "found python3-flask, python3-flask-granian, python3-http, python3-own"
    )


@pytest.mark.parametrize("language", ["python3-http", "python3-flask", "python3-http-debian"])
def test_official_python_templates_are_ours_where_the_project_has_none_or_one_with_a_fixed_port(
    project: Path, language: str
) -> None:
    official = project / "template" / language
    ours = load_template(project, language)
    assert ours.directory.parent == OWN_TEMPLATES
    official.mkdir()
    (official / "template.yml").write_text("fprocess: python index.py\n")
    (official / "index.py").write_text("serve(app, host='0.0.0.0', port=5000)\n")
    assert load_template(project, language) == ours
    (official / "index.py").write_text("serve(app, port=os.environ['PORT'])\n")
    assert load_template(project, language).directory == official


def test_a_projects_own_template_goes_before_ours(project: Path) -> None:
    own = project / "template" / "python3-flask-granian"
    assert load_template(project, own.name).directory.parent == OWN_TEMPLATES
    shutil.copytree(project / "template" / "python3-own", own)
    (own / "index.py").write_text("port = 5000\n")
    assert load_template(project, own.name).directory == own


@pytest.mark.parametrize("language", ["../hello", ".", "a/b", "/etc"])
def test_a_language_cannot_lead_out_of_the_templates(project: Path, language: str) -> None:
    (project / "hello" / "template.yml").write_text("fprocess: sh\n")
    text = f"{HEADER}functions:\n  f: {{lang: {language}, handler: ./hello, image: f}}\n"
    assert "no template for the language" in refusal(project, text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "stack.yml:1: the file has no provider; write `provider:` with `name: openfaas`"),
        ("functions: {}\n", "stack.yml:1: the file has no provider; write `provider:` with `name: openfaas`"),
        ("provider: {name: faas}\n", "stack.yml:1: provider.name must be openfaas, not faas"),
        ("provider: {gateway: x}\n", "stack.yml:1: provider.name must be openfaas, not empty"),
        ("provider: openfaas\n", "stack.yml:1: provider must be a mapping, not the text 'openfaas'"),
        ("version: 2\nprovider: {name: openfaas}\n", "stack.yml:1: version must be 1.0, not 2"),
        ("- a\n", "stack.yml:1: the file must be a mapping, not a list"),
        ("a: [\n", "stack.yml:2: not valid YAML: while parsing a flow node, expected the node content, but found '<stream end>'"),
        ("a: ${B\n", "stack.yml:1: `${B` has no closing brace"),
        (HEADER + "functions: [a]\n", "stack.yml:4: functions must be a mapping, not a list"),
        (HEADER + "functions:\n  a: x\n", "stack.yml:5: functions.a must be a mapping, not the text 'x'"),
        (HEADER + "functions:\n  a:\n", "stack.yml:5: functions.a has no image"),
        (
            HEADER + "functions:\n  a:\n    image: x\n    environment: [A=b]\n",
            "stack.yml:7: functions.a.environment must be a mapping, not a list",
        ),
        (
            HEADER + "functions:\n  a:\n    image: x\n    labels:\n      l: {m: n}\n",
            "stack.yml:8: functions.a.labels.l must be text, not a mapping",
        ),
        (
            HEADER + "functions:\n  a: {image: x, secrets: one}\n",
            "stack.yml:5: functions.a.secrets must be a list, not the text 'one'",
        ),
        (
            HEADER + "functions:\n  a: {image: x, readonly_root_filesystem: 'true'}\n",
            "stack.yml:5: functions.a.readonly_root_filesystem must be true or false, not the text 'true'",
        ),
        (
            HEADER + "functions:\n  a: {image: x, limits: 128Mi}\n",
            "stack.yml:5: functions.a.limits must be a mapping, not the text '128Mi'",
        ),
        (
            HEADER + "functions:\n  a: {image: x}\n  a: {image: y}\n",
            "stack.yml:6: functions has the key 'a' twice",
        ),
        (
            HEADER + "functions:\n  ../a: {image: x}\n",
            "stack.yml:5: functions.../a is not a function name: lower-case letters, digits and inner hyphens, "
            "at most 63 characters",
        ),
        (
            HEADER + "functions:\n  a: {lang: python3-own, image: x}\n",
            "stack.yml:5: functions.a has no handler: the folder with its code",
        ),
        (HEADER + "configuration: {copy: shared}\n", "stack.yml:4: configuration.copy must be a list, not the text 'shared'"),
    ],
)  # fmt: skip
def test_a_bad_file_is_refused_in_one_line_that_names_the_place(
    project: Path, text: str, message: str
) -> None:
    assert refusal(project, text) == message


LONG = "x" * 300


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"functions:\n  a: {{image: x, environment_file: [{LONG}]}}\n", "stack.yml:5: functions.a.environment_file[0] names no file"),
        (f"functions:\n  a: {{image: x, lang: {LONG}, handler: a}}\n", "no template for the language"),
        ('functions:\n  a: {image: "\\UFFFFFFFF"}\n', "stack.yml: not valid YAML"),
        ("x-a: " + "${a:-" * 2000 + "}" * 2000 + "\n", "stack.yml: nested too deeply"),
        ("x-a: " + "[" * 5000 + "]" * 5000 + "\n", "stack.yml: "),
    ],
)  # fmt: skip
def test_what_no_file_system_or_parser_takes_is_refused_in_one_line(
    project: Path, text: str, message: str
) -> None:
    told = refusal(project, HEADER + text)
    assert told.startswith(message)
    assert "\n" not in told


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"a: \x00", b"\x80"])
def test_a_file_that_is_not_text_is_refused(project: Path, content: bytes) -> None:
    path = project / "stack.yml"
    path.write_bytes(content)
    with pytest.raises(StackError, match=r"^stack\.yml"):
        load_stack(path, {})


def test_a_file_that_is_not_there_is_named(project: Path) -> None:
    with pytest.raises(StackError, match=r"stack\.yml: cannot be read \(No such file or directory\)"):
        load_stack(project / "stack.yml", {})


def test_one_image_for_two_builds_is_refused(project: Path) -> None:
    (project / "other").mkdir()
    text = (
        f"{HEADER}functions:\n"
        "  a: {lang: python3-own, handler: ./hello, image: same}\n"
        "  b: {lang: python3-own, handler: ./other, image: same}\n"
    )
    assert refusal(project, text) == "stack.yml:6: functions.b has the image of a, same, but other code"


def test_two_functions_may_share_one_build(project: Path) -> None:
    stack = load(
        project,
        "  a: {lang: python3-own, handler: ./hello, image: same}\n"
        "  b: {lang: python3-own, handler: ./hello, image: same}\n"
        "  c: {image: same, skip_build: true}\n",
    )
    assert [one.is_built for one in stack.functions.values()] == [True, True, False]


def test_a_misspelt_key_is_a_warning(project: Path) -> None:
    stack = load(project, "  a:\n    image: a\n    enviroment: {x: y}\n")
    assert stack.warnings == (
        "stack.yml:7: functions.a.enviroment is not a key of a function and is ignored",
    )


def test_stack_yaml_wins_over_stack_yml(project: Path) -> None:
    assert stack_file(project).name == "stack.yml"
    (project / "stack.yaml").touch()
    assert stack_file(project).name == "stack.yaml"


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(
    [
        "lang",
        "handler",
        "image",
        "environment",
        "environment_file",
        "secrets",
        "labels",
        "limits",
        "skip_build",
    ]
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.dictionaries(st.text(max_size=8), st.dictionaries(KEYS, VALUES) | VALUES, max_size=3))
def test_any_functions_are_loaded_or_refused_in_one_line(project: Path, functions: object) -> None:
    import json

    path = project / "stack.yml"
    path.write_text(HEADER + "functions: " + json.dumps(functions))
    try:
        for function in load_stack(path, {}).functions.values():
            json.dumps(function.deployment())
    except StackError as refused:
        assert "\n" not in str(refused)
