"""Matchers as Alertmanager writes and reads them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remediator.model.matcher import Matcher, matches_all, parse_matcher, parse_matchers


@pytest.mark.parametrize(
    ("text", "matcher"),
    [
        ('tier="web"', Matcher("tier", "=", "web")),
        (' tier != "web" ', Matcher("tier", "!=", "web")),
        ('namespace=~"shop|search"', Matcher("namespace", "=~", "shop|search")),
        ("tier=web", Matcher("tier", "=", "web")),
        ("tier=", Matcher("tier", "=", "")),
        ('"Näme mit Raum"="x"', Matcher("Näme mit Raum", "=", "x")),
        (r'a="q\"b\\c\nd"', Matcher("a", "=", 'q"b\\c\nd')),
        ("a!~b.*", Matcher("a", "!~", "b.*")),
    ],
)
def test_parse(text: str, matcher: Matcher) -> None:
    assert parse_matcher(text) == matcher


@pytest.mark.parametrize("text", ["", "tier", '="web"', 'tier=="web"', 'tier="web', 'a=~"("', 'a="b" c', '""="x"'])
def test_what_is_no_matcher(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not|has no"):
        parse_matcher(text)


@pytest.mark.parametrize(
    ("text", "value", "holds"),
    [
        ('a="b"', "b", True),
        ('a="b"', "bb", False),
        ('a!="b"', "c", True),
        ('a=~"b|c"', "c", True),
        ('a=~"b"', "bb", False),
        ('a=~"b.*"', "b\nc", True),
        ('a!~"b.*"', "c", True),
        ('a!~"b.*"', "b", False),
    ],
)
def test_matches(text: str, value: str, holds: bool) -> None:
    assert parse_matcher(text).matches({"a": value}) is holds


@pytest.mark.parametrize(("text", "holds"), [('a=""', True), ('a!=""', False), ('a=~".*"', True), ('a!~".+"', True)])
def test_an_absent_label_is_an_empty_one(text: str, holds: bool) -> None:
    assert parse_matcher(text).matches({}) is holds


def test_several() -> None:
    assert parse_matchers("") == parse_matchers("{}") == ()
    both = (Matcher("tier", "=", "web, or {so}"), Matcher("team", "!=", "db"))
    assert (
        parse_matchers('{tier="web, or {so}", team!="db"}') == parse_matchers('tier="web, or {so}",team!=db,') == both
    )
    assert matches_all((), {})
    assert matches_all(both, {"tier": "web, or {so}"})
    assert not matches_all(both, {"tier": "web, or {so}", "team": "db"})
    for text in ('{tier="web"', 'tier="web" team="db"', "tier"):
        with pytest.raises(ValueError, match=r"cannot read|brace"):
            parse_matchers(text)


HOSTILE = st.lists(st.sampled_from([*"ab_9.:-!=~{}(),\"'`\\ \n\t\r", "é", "\u2028", "=~", "!="]), max_size=8).map(
    "".join
)
TEXTS = HOSTILE | st.text(max_size=12)
NAMES = TEXTS.filter(bool)


@st.composite
def matchers(draw: st.DrawFn) -> Matcher:
    """Any matcher: the names hold what quotes are for, at least as often as not."""
    op = draw(st.sampled_from(["=", "!=", "=~", "!~"]))
    value = draw(TEXTS)
    if op in ("=~", "!~"):
        value = re.sub(r"[\\.+*?()|\[\]{}^$]", r"\\\g<0>", value)
    return Matcher(draw(NAMES), op, value)


@given(st.lists(matchers(), max_size=4))
def test_matchers_are_read_back_as_they_are_shown(several: list[Matcher]) -> None:
    for matcher in several:
        assert parse_matcher(str(matcher)) == matcher
    shown = ", ".join(map(str, several))
    assert parse_matchers(shown) == parse_matchers(f"{{{shown}}}") == tuple(several)


@pytest.mark.parametrize(
    ("matcher", "shown"),
    [
        (Matcher("a", "=", "b"), 'a="b"'),
        (Matcher("a!", "=", "b"), '"a!"="b"'),
        (Matcher("service.name", "=~", "a|b"), '"service.name"=~"a|b"'),
        (Matcher("9a", "!=", ""), '"9a"!=""'),
        (Matcher('a"b', "=", 'c"'), r'"a\"b"="c\""'),
        (Matcher("ä", "=", "x"), '"ä"="x"'),
    ],
)
def test_a_name_that_is_no_plain_one_is_quoted(matcher: Matcher, shown: str) -> None:
    assert str(matcher) == shown


@given(
    st.text(max_size=60)
    | st.lists(st.sampled_from([*'ab="~!{},\\\n ', '=~"', "!~", "(", "é", "(a+)+$"]), max_size=30).map("".join)
)
def test_any_text_is_a_matcher_or_is_refused(text: str) -> None:
    try:
        matcher = parse_matcher(text)
    except ValueError:
        return
    assert parse_matcher(str(matcher)) == matcher
    assert matches_all([matcher], {"a": "b" * 50}) in (True, False)
