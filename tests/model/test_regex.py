"""Regular expressions are those of Prometheus: the same answers, linear time, and what RE2 refuses is a sentence."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from real.prometheus import RealPrometheus

from remediator.model.matcher import Matcher, MatcherError, parse_matcher
from remediator.model.regex import RegexCostError, RegexError, _compiled, compile_regex
from remediator.model.silence import Silence

LITERAL_LIKE = st.text(st.sampled_from("ab.*+|\\()?:^$-{}[]é_ \n"), max_size=12)
VALUES = st.text(st.sampled_from("ab.*+|\\()?:^$-{}[]é_ \n"), max_size=8)

PATTERNS = [
    "",
    "a|b",
    "(a|b)",
    "(?:a|)",
    "^a$",
    "^a|b$",
    "a$|b",
    "a.*",
    ".+a",
    ".*a.+",
    ".+",
    r"a\.b",
    r"a\-b|\_",
    "[[:alpha:]]+1",
    r"\pN+",
    r"\p{Greek}",
    r"\d+",
    r"\w+",
    r"(?i)WEB",
    "shop|(?i)cart",
    "(?i:a)b",
    r"\Qa.b\E",
    r"\Qa.b\E.",
    "(?U)a+",
    "x{2",
    "a{,3}",
    "a{1,3}",
    "(?P<n>a)b",
    r"\x61",
    r"\x{e9}",
    "[^a]",
    r"[\d\pL]",
    "é",
    ".",
]
TEXTS = [
    "",
    "a",
    "b",
    "A",
    "ab",
    "a.b",
    "axb",
    "a.bc",
    "é",
    "É",
    "3",
    "٣",
    "α",
    "web",
    "WEB",
    "cart",
    "CART",
    "SHOP",
    "xay",
]
TEXTS += ["x{2", "a{,3}", "aaa", "a-b", "_", "web1", "ä1"]
REFUSED = [
    "(a",
    "a)",
    "[b-a]",
    "a**",
    "*",
    r"\C",
    r"a\Cb",
    r"\Z",
    r"\1",
    "(?!a)",
    "(?<=a)b",
    "(?P=n)",
    "[[:foo:]]",
    "x{1001}",
]
REFUSED += ["\\", r"\p{Foo}", "(?i", "((a{100}){100}){100}", "a++"]


async def test_the_answers_are_those_of_prometheus(tmp_path: Path) -> None:
    async with RealPrometheus(tmp_path) as prometheus:

        def matches(pattern: str) -> set[str]:
            texts = " or ".join(
                f'label_replace(label_replace(vector({n}), "n", "{n}", "", ""), "v", {json.dumps(text)}, "", "")'
                for n, text in enumerate(TEXTS)
            )
            query = f'label_replace({texts}, "hit", "yes", "v", {json.dumps(pattern, ensure_ascii=False)})'
            return {TEXTS[int(s["metric"]["n"])] for s in prometheus.query(query) if "hit" in s["metric"]}

        for pattern in PATTERNS:
            compiled = compile_regex(pattern)
            assert {text for text in TEXTS if compiled(text)} == matches(pattern), pattern
        for pattern in REFUSED:
            with pytest.raises(Exception, match=r"422|400"):
                matches(pattern)


@pytest.mark.parametrize("pattern", REFUSED)
def test_what_re2_refuses_is_refused_with_a_sentence(pattern: str) -> None:
    with pytest.raises(RegexError, match="is not a regular expression: ") as caught:
        compile_regex(pattern)
    assert caught.value.offset is None or 0 <= caught.value.offset <= len(pattern)


@given(LITERAL_LIKE, VALUES)
def test_a_pattern_that_is_compared_without_re2_answers_as_re2_does(pattern: str, value: str) -> None:
    try:
        expected = _compiled(pattern)
    except RegexError:
        with pytest.raises(RegexError):
            compile_regex(pattern)
    else:
        assert compile_regex(pattern)(value) is expected(value)


@given(st.lists(st.text(max_size=5), max_size=4), st.text(max_size=5))
def test_quoted_literals_match_themselves(texts: list[str], other: str) -> None:
    matches = compile_regex("|".join(re.sub(r"[\\.+*?()|\[\]{}^$]", r"\\\g<0>", text) for text in texts))
    assert all(map(matches, texts))
    assert matches(other) is (other in (texts or [""]))


def test_half_of_a_surrogate_pair_is_some_character() -> None:
    assert compile_regex("[^a]")("\ud800")
    assert compile_regex("a|\ud800.*")("\ud800b")


@pytest.mark.parametrize(
    "pattern", ["(a+)+$", "(a|a)*b", "(a|aa)+b", "(.*)*x", "(a*)*b", "(a|b|ab)*c", "(?:a?){50}a{50}b"]
)
def test_nothing_is_exponential(pattern: str) -> None:
    matches = compile_regex(pattern)
    started = time.process_time()
    matches("a" * 16_000 + "!")
    assert time.process_time() - started < 1


def test_a_pattern_that_is_too_large_is_refused() -> None:
    with pytest.raises(RegexError, match="too large"):
        compile_regex("|".join(f"[01]*1[01]{{{900 - n}}}" for n in range(40)))
    # A list of many names is no such pattern.
    assert compile_regex("|".join(f"service-{n}" for n in range(20_000)))("service-19999")


def test_a_position_inside_of_a_matcher_is_that_of_the_text_as_written() -> None:
    for text, at in (('a=~"b(?=c)"', 5), (r'a=~"\\n\"(?=c)"', 9), ("a=~b**", 4)):
        with pytest.raises(MatcherError) as caught:
            parse_matcher(text)
        assert caught.value.offset == at


def test_a_stored_matcher_that_cannot_be_read_holds() -> None:
    assert Matcher("a", "=~", "(?!b)").matches({"a": "b"})
    assert Matcher("a", "!~", "(?!b)").matches({"a": "b"})


def test_a_text_too_long_for_a_large_pattern_is_refused_and_a_silence_holds_then() -> None:
    """RE2 takes time linear in the text, and in the pattern: some seconds for a pattern and a text at their bounds."""
    pattern = "(?:" + "|".join(f"[ab]*a[ab]{{{n}}}c" for n in range(985, 995)) + ")"
    matches = compile_regex(pattern)
    assert not matches("ab" * 100)
    with pytest.raises(RegexCostError, match="cannot match a text of 16000 bytes"):
        matches("ab" * 8000)
    silence = Silence("x", (Matcher("note", "=~", pattern),), 0.0, 10.0, "ada")
    assert silence.covers({"note": "ab" * 8000}, 5.0)
    assert not silence.covers({"note": "ab" * 100}, 5.0)
    assert not silence.covers({"note": "ab" * 8000}, 15.0)
