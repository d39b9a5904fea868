"""Documents: places in the text, and texts that must neither crash nor stall the reader."""

from pathlib import Path

import pytest

from remediator.config.document import MAX_BYTES, Document, open_document
from remediator.errors import ConfigError
from remediator.rules.loader import load_rules, read_rules


def problems_of(text: str) -> list[tuple[str, int, int]]:
    _, problems = read_rules([Document("rules.yml", text)], service_label="service")
    return [(problem.check, problem.position.line, problem.position.column) for problem in problems]


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ("a: x{{ y }}", 1, 5),
        ("a: 'it''s {{ y }}'", 1, 11),
        ('a: "tab\\t \\x41\\u0042\\" \\N{{ y }}"', 1, 26),
        ('a: "one\n  two \\\n  \\\n  {{ y }}"', 4, 3),
        ("a:\n  one\n  two {{ y }}", 3, 7),
        ("a: |\n  one\n\n    two {{ y }}\n", 4, 9),
        ("a: >2-\n  one\n  two\n\n   {{ y }}\n", 5, 4),
        ("a:   é ü {{ y }}", 1, 10),
        ("- [x, {a: 'ü {{ y }}'}]", 1, 14),
    ],
)
def test_a_character_of_a_text_is_found_in_every_style(text: str, line: int, column: int) -> None:
    document = Document("x", text)
    path: tuple[str | int, ...] = (0, 1, "a") if text.startswith("-") else ("a",)
    node = document.inner(document.root, path) if document.root else None
    assert node is not None
    place = document.position(*path, offset=node.value.index("{{"))
    assert (place.line, place.column) == (line, column)


def test_positions_by_path_and_the_nearest_around() -> None:
    document = Document("x", "a:\n  - b: c\n    d: [e]\n")
    assert str(document.position("a", 0, "d", 0)) == "x:3:9"
    assert str(document.position("a", 0, "d", key=True)) == "x:3:5"
    assert str(document.position("a", 0, "nothing", 7)) == "x:2:5"
    assert str(document.position("a", 3)) == "x:2:3"
    assert str(Document("x", "").position("a")) == "x:1:1"


def test_windows_line_ends_a_byte_order_mark_and_a_next_line_character(tmp_path: Path) -> None:
    path = tmp_path / "rules.yml"
    path.write_bytes("\ufeffservices:\r\n  - name: ok\r\n    é\x85    colour: x\r\n".encode())
    _, problems = read_rules([open_document(path)], service_label="service")
    assert [(problem.position.line, problem.position.column) for problem in problems] == [(4, 5)]


def test_lines_are_shown_without_control_characters_and_not_when_long() -> None:
    document = Document("x", "a: \x1b[31m")
    assert document.problems[0].position.source == "a: \ufffd[31m"
    assert Document("x", "a: " + "x" * 500 + ": y").problems[0].position.source == ""


@pytest.mark.parametrize(
    ("text", "check"),
    [
        ("[" * 100_000, "too-deep"),
        ("a: " * 100_000, "yaml-syntax"),
        ("- " * 100_000, "too-deep"),
        ("{a: " * 100_000, "too-deep"),
        ("services: [" + "{labels: " * 28 + "x" + "}" * 28 + "]", "missing-key"),
        ("targets: &a [*a]", "wrong-type"),
        ("a: \ud800", "yaml-syntax"),
        ("a: \x00", "yaml-syntax"),
        ("%YAML 9.9\n---\na: b", "yaml-syntax"),
        ("? [a]\n: b", "wrong-type"),
        ("? {a: b}\n: c", "wrong-type"),
    ],
)
def test_hostile_texts_are_refused(text: str, check: str) -> None:
    assert problems_of(text)[0][0] == check


def test_an_alias_that_holds_itself() -> None:
    text = "runbooks: [{name: a, steps: [{restart: &x {a: *x}}]}]"
    assert [check for check, *_ in problems_of(text)] == ["too-deep"]


def test_a_billion_laughs() -> None:
    laughs = ["&x0 [ha]", *(f"&x{i} [{', '.join([f'*x{i - 1}'] * 50)}]" for i in range(1, 12))]
    text = "runbooks: [{name: a, steps: [{restart: {a: [" + ",\n ".join(laughs) + "]}}]}]"
    assert [check for check, *_ in problems_of(text)] == ["too-many-values"]


def test_few_names_that_make_many_values_are_counted_too() -> None:
    step = "&s {run: [" + ", ".join(["a"] * 300) + "]}"
    runbook = "&r {name: a, steps: [" + ", ".join([step, *["*s"] * 300]) + "]}"
    text = "runbooks: [" + ", ".join([runbook, *["*r"] * 300]) + "]"
    assert ("too-many-values", 1) in {(check, line) for check, line, _ in problems_of(text)}


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "latin.yml").write_bytes(b"a: b\nc: \xe4\n")
    with (tmp_path / "huge.yml").open("wb") as huge:
        huge.truncate(MAX_BYTES + 1)
    names = ("missing.yml", "latin.yml", "huge.yml", ".")
    with pytest.raises(ConfigError) as caught:
        load_rules([tmp_path / name for name in names], service_label="service")
    told = [(problem.check, problem.position.line) for problem in caught.value.problems]
    assert told == [("unreadable-file", 1), ("unreadable-file", 2), ("unreadable-file", 1), ("unreadable-file", 1)]
    text = str(caught.value)
    for words in ("No such file or directory", "it is not UTF-8", "it is larger than 16 MiB", "Is a directory"):
        assert words in text
