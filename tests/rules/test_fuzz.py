"""Whatever a file says, reading it ends in rules or in problems with places, never in another exception."""

import contextlib
from pathlib import Path

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from remediator.config.document import Document
from remediator.config.schema import schema_of
from remediator.config.settings import read_config
from remediator.errors import ConfigError
from remediator.model.rules import Threshold
from remediator.problem import Severity
from remediator.rules.fields import RunbookDoc, ServiceDoc, StepDoc, TargetDoc
from remediator.rules.loader import make_rulebook, read_rules, service_from_document

HERE = Path(__file__).parent
GOOD = [path.read_text() for path in sorted((HERE / "good").glob("*.yml"))]
CONFIG = (HERE.parent / "config/config.yml").read_text()
PIECES = [
    "{{ labels.x }}", "{{", "}}", "{% if x %}", "{% endif %}", "{#", "'", '"', "`", "$(", "<<EOF\n", "\n", "\n  ", "- ",
    ": ", "? ", "[", "]", "{", "}", "&a ", "*a", "!x ", "|\n", ">-\n", "#", "no", "~", "12:30", "-1", "1e9", "5m", "> 1",
    "\t", "\\", "\x00", "\ufeff", "\u2028", "\U0001f600", "%", "@", "---\n", "<<: *a\n", "scale", "restart", "when",
]  # fmt: skip
KEYS = sorted({key for cls in (ServiceDoc, Threshold, RunbookDoc, StepDoc, TargetDoc) for key in schema_of(cls).fields})
few = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


def read(text: str) -> None:
    """Read a text as rules; all that is found must be possible to show."""
    rules, problems = read_rules([Document("rules.yml", text)], service_label="service")
    for problem in problems:
        assert problem.position.line >= 1
        assert problem.position.column >= 1
        assert problem.render()
        assert problem.check
    if not any(problem.severity is Severity.ERROR for problem in problems):
        rulebook = make_rulebook(rules)
        rulebook.service_for({"namespace": "shop", "deployment": "web", "x": "y"})


@st.composite
def mutations(draw: st.DrawFn, texts: list[str]) -> str:
    """A good text, some slices of which are left out, doubled, or replaced."""
    text = draw(st.sampled_from(texts))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.integers(0, 30)))
        instead = draw(st.sampled_from(["", text[start:end] * 2, *PIECES]) | st.text(max_size=6))
        text = text[:start] + instead + text[end:]
    return text


@few
@given(mutations(GOOD))
def test_mutations_of_good_rules(text: str) -> None:
    read(text)


@few
@given(st.lists(st.sampled_from([*PIECES, *KEYS, *(f"{key}: " for key in KEYS)]) | st.text(max_size=5), max_size=40))
def test_what_looks_like_yaml(pieces: list[str]) -> None:
    read("services:\n  - name: " + "".join(pieces))
    read("".join(pieces))


@few
@given(st.text(max_size=200))
def test_any_text(text: str) -> None:
    read(text)


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(PIECES) | st.text(max_size=8)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=5), inner),
    max_leaves=25,
)


@few
@given(
    st.dictionaries(st.sampled_from(["services", "thresholds", "runbooks", "targets"]), st.lists(values, max_size=3))
)
def test_any_values_under_any_keys(document: dict[str, object]) -> None:
    with contextlib.suppress(yaml.YAMLError, UnicodeEncodeError):
        read(yaml.safe_dump(document, allow_unicode=True))


@few
@given(st.dictionaries(st.sampled_from(KEYS), values, max_size=5))
def test_any_service_from_outside(document: dict[str, object]) -> None:
    rules, _ = read_rules([Document("rules.yml", GOOD[0])], service_label="service")
    with contextlib.suppress(ConfigError):
        service_from_document(document, make_rulebook(rules))


@few
@given(mutations([CONFIG]))
def test_mutations_of_a_config(text: str) -> None:
    document = Document("remediator.yml", text)
    config = read_config(document, HERE)
    assert all(problem.render() for problem in document.problems)
    assert config is not None or document.problems
