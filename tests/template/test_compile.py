"""Templates: what they render, what they refuse, and that no value ever becomes code, in real shells."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from jinja2 import TemplateSyntaxError
from markupsafe import Markup

from remediator.errors import RefusedError, TemplateError
from remediator.template.compile import (
    RESULT_LIMIT,
    VALUE_LIMIT,
    LabelView,
    Template,
    TemplateKind,
    compile_template,
)
from remediator.template.filters import SANDBOX

LABELS = {
    "pod": "web-1",
    "items": "the label named items",
    "get": "the label named get",
    "dash": "-rf",
    "quotes": """a'b"c""",
    "regex": "a.*|b\\d",
    "lines": "one\ntwo",
    "empty": "",
    "evil": """$(touch x)`touch x`; touch x '; touch x " && touch x\n touch x #""",
    "nul": "a\0b",
    "long": "x" * (VALUE_LIMIT + 1),
    "wide": "ü" * VALUE_LIMIT,
    "surrogate": "a\ud800b",
    "up": "..",
    "host": "web1:9100",
    "markup": Markup("<b>'</b>"),
}
CONTEXT = {
    "labels": LabelView(LABELS),
    "service": {"name": "shop/checkout", "labels": {"items": "its items"}},
    "values": {"error_ratio": 0.25, "up": 3.0},
    "replicas": 4,
    "flag": True,
    "nothing": None,
    "args": {"list": ["a"], "version": "v2"},
}


def render(source: str, kind: TemplateKind = TemplateKind.TEXT) -> str:
    return compile_template(source, kind).render(CONTEXT)


def refusal(source: str, kind: TemplateKind = TemplateKind.TEXT) -> str:
    template = compile_template(source, kind)
    with pytest.raises(RefusedError) as caught:
        template.render(CONTEXT)
    return str(caught.value)


def fault(source: str, kind: TemplateKind = TemplateKind.TEXT) -> TemplateError:
    with pytest.raises(TemplateError) as caught:
        compile_template(source, kind)
    return caught.value


class TestText:
    @pytest.mark.parametrize(
        ("source", "text"),
        [
            ("plain { } % # text\n", "plain { } % # text\n"),
            ("{{ labels.pod }} of {{ service.name }}", "web-1 of shop/checkout"),
            ("{{ labels['pod'] }}", "web-1"),
            (
                "{{ labels.items }}, {{ labels.get }}, {{ service.labels.items }}",
                "the label named items, the label named get, its items",
            ),
            ("{{ values.error_ratio }} {{ values.up }} {{ replicas }} {{ flag }}", "0.25 3 4 true"),
            ("{{ replicas * 2 + 1 }} {{ replicas % 3 }} {{ 7 // 2 }}", "9 1 3"),
            ("{{ labels.pod ~ '-' ~ replicas }}", "web-1-4"),
            ("{{ labels.absent | default('none') }} {{ labels.empty | default('none') }}", "none none"),
            ("{{ nope | default('none') }}", "none"),
            ("{% if labels.absent is defined %}a{% elif replicas > 3 %}b{% else %}c{% endif %}", "b"),
            ("{{ 'few' if replicas < 3 else 'many' }}", "many"),
            ("{{ 'yes' if 'pod' in labels else 'no' }}", "yes"),
            ("{{ labels.host | split(':') | first }} {{ (labels.host | split(':'))[1] }}", "web1 9100"),
            ("{{ labels.host | host }} {{ labels.pod | host }}", "web1 web-1"),
            ("{{ labels.pod[:3] | upper }} {{ ' x ' | trim }} {{ labels.pod | replace('-', '_') }}", "WEB x web_1"),
            ("{{ labels.quotes | tojson }}", json.dumps(LABELS["quotes"])),
            ("{{ labels.quotes | urlencode }}", "a%27b%22c"),
            ("{% raw %}{{ .State }}{% endraw %} ${#name}", "{{ .State }} ${#name}"),
            ("a{## left out ##}b", "ab"),
        ],
    )
    def test_renders(self, source: str, text: str) -> None:
        assert render(source) == text

    @pytest.mark.parametrize(
        ("source", "reason"),
        [
            ("{{ labels.absent }}", "cannot render {{ labels.absent }}: there is no label absent"),
            ("{{ labels.absent | lower }}", "cannot render {{ labels.absent | lower }}: there is no label absent"),
            (
                "{% if labels.absent %}{% endif %}",
                "cannot render {% if labels.absent %}{% endif %}: there is no label absent",
            ),
            ("{{ nope }}", "cannot render {{ nope }}: there is no variable nope"),
            ("{{ service.owner }}", "cannot render {{ service.owner }}: it has no owner"),
            ("{{ nothing }}", "cannot render {{ nothing }}: nothing is neither text nor a number"),
            ("{{ args.list }}", "cannot render {{ args.list }}: list is neither text nor a number"),
            ("{{ labels }}", "cannot render {{ labels }}: LabelView is neither text nor a number"),
            ("{{ labels.nul }}", "cannot render {{ labels.nul }}: its value contains a NUL byte"),
            ("{{ labels.long }}", "cannot render {{ labels.long }}: its value has 4097 bytes, more than 4096"),
            ("{{ labels.wide }}", "cannot render {{ labels.wide }}: its value has 8192 bytes, more than 4096"),
            ("{{ labels.surrogate }}", "cannot render {{ labels.surrogate }}: its value is not valid Unicode"),
            ("{{ 1 // 0 }}", "cannot render {{ 1 // 0 }}: integer division or modulo by zero"),
            ("{{ labels.pod * 1000000000 }}", "cannot render {{ labels.pod * 1000000000 }}: * is for numbers only"),
            ("{{ '%9999999999d' % 1 }}", "cannot render {{ '%9999999999d' % 1 }}: % is for numbers only"),
            ("a\0b", "cannot render a\0b: it contains a NUL byte"),
        ],
    )
    def test_refuses(self, source: str, reason: str) -> None:
        assert refusal(source) == reason

    @pytest.mark.parametrize(
        ("address", "host"),
        [
            ("web1", "web1"),
            ("web1.example:9100", "web1.example"),
            ("10.0.0.7:9121", "10.0.0.7"),
            ("redis://cache1:6379", "cache1"),
            ("rediss://user:p@ss@cache1:6379/0", "cache1"),
            ("https://shop.example/health?x=a@b:c", "shop.example"),
            ("postgresql://db1", "db1"),
            ("[2001:db8::7]:9100", "2001:db8::7"),
            ("2001:db8::7", "2001:db8::7"),
            ("http://[2001:db8::7]:8080/x", "2001:db8::7"),
            ("web1:", "web1"),
        ],
    )
    def test_the_host_of_an_address(self, address: str, host: str) -> None:
        assert render(f"{{{{ {json.dumps(address)} | host }}}}") == host

    @pytest.mark.parametrize(
        "address",
        ["", ":9100", "a:b", "mongodb://a:1,b:2", "tcp(db1:3306)", "unix:///run/redis.sock", "-oProxyCommand=x",
         "a b", "web1\n", "[web1]:9100", "[::1", "1:2:3:4", "web-:1", "web1:\u0661"],
    )  # fmt: skip
    def test_what_names_no_host_is_refused(self, address: str) -> None:
        assert "names no host" in refusal(f"{{{{ {json.dumps(address)} | host }}}}")

    def test_a_long_result_is_refused(self) -> None:
        assert "longer than" in refusal("{{ labels.pod }}" + "x" * RESULT_LIMIT)

    def test_replacing_cannot_grow_without_bound(self) -> None:
        grow = " | replace('x', '" + "x" * 64 + "')"
        assert "longer than" in refusal("{{ labels.long" + grow * 3 + " | length }}")

    @pytest.mark.parametrize(
        "source",
        [
            "{{ service.__class__ }}",
            "{{ ''.__class__.__mro__ }}",
            "{{ labels._labels }}",
            "{{ labels.pod.format }}",
            "{{ service['__class__'] }}",
        ],
    )
    def test_nothing_but_data_is_reached(self, source: str) -> None:
        assert refusal(source)

    @pytest.mark.parametrize(
        ("source", "offset", "words"),
        [
            ("a {{ labels.pod", 2, "unexpected end of template"),
            ("a\n{{ ok }} {{ labels. }}", 11, "cannot read the template"),
            ("{% if x %}", 0, "Unexpected end of template"),
            ("ab {{ x | safe }}", 3, "there is no filter safe"),
            ("ab {{ x is odd_one }}", 3, "there is no test odd_one"),
            ("{{ labels.pod() }}", 0, "call is not allowed"),
            ("{{ range(9) }}", 0, "call is not allowed"),
            ("{{ 9 ** 9 ** 9 }}", 0, "pow is not allowed"),
            ("a\n {% for x in y %}{{ x }}{% endfor %}", 3, "{% for %} is not allowed"),
            ("{% set x = 1 %}", 0, "{% set %} is not allowed"),
            ("{% set x %}{{ labels.pod }}{% endset %}", 0, "{% set %} is not allowed"),
            ("{% macro m() %}{% endmacro %}", 0, "{% macro %} is not allowed"),
            ("{% filter upper %}{{ labels.pod }}{% endfilter %}", 0, "{% filter %} is not allowed"),
            ("{% include 'x' %}", 0, "{% include %} is not allowed"),
            ("{% autoescape true %}{% endautoescape %}", 0, "{% autoescape %} is not allowed"),
        ],
    )
    def test_what_is_not_allowed(self, source: str, offset: int, words: str) -> None:
        error = fault(source)
        assert words in str(error)
        assert error.offset == offset

    def test_names_used(self) -> None:
        template = compile_template(
            "{{ labels.a }}{{ labels['b'] }}{% if labels.c %}{{ unit }}{% endif %}", TemplateKind.TEXT
        )
        assert template.labels == {"a", "b", "c"}
        assert template.variables == {"labels", "unit"}

    @given(st.text(st.sampled_from("a{}%#\r\n\t \\\"'\x85\u2028ü\0-")), st.sampled_from(TemplateKind))
    def test_text_without_an_expression_is_as_jinja_has_it(self, text: str, kind: TemplateKind) -> None:
        try:
            expected: str | None = SANDBOX.from_string(text).render()
        except TemplateSyntaxError:
            expected = None
        try:
            rendered: str | None = compile_template(text, kind).render({})
        except (TemplateError, RefusedError):
            rendered = None
        assert rendered == (None if expected is None or "\0" in expected else expected)

    @pytest.mark.parametrize(
        ("filters", "value"),
        [
            ("name", "web-1.a_b"),
            ("name", "_9"),
            ("name('@:')", "web@a:b"),
            ("name(parts=2)", "deployment/web"),
            ("name(empty=true)", ""),
            ("name('', 'all')", "alle"),
        ],
    )
    def test_a_plain_name_is_taken(self, filters: str, value: str) -> None:
        template = compile_template(f"--of={{{{ labels.unit | {filters} }}}}", TemplateKind.ARGUMENT)
        assert template.render({"labels": LabelView({"unit": value})}) == f"--of={value}"

    @pytest.mark.parametrize(
        ("filters", "value", "reason"),
        [
            ("name", "", "a name is empty"),
            ("name", "a b", "is not one plain name, because of ' '"),
            ("name", "a\n", "is not one plain name"),
            ("name", "wéb", "because of 'é'"),
            ("name", "a:b", "because of ':'"),
            ("name(':')", "a:", "because of ':'"),
            ("name(':')", ":a", "because of ':'"),
            ("name", ".", "because of '.'"),
            ("name", "-a", "would be taken for an option"),
            ("name('', 'all')", "all", "may stand for more than one thing"),
            ("name(parts=2)", "a", "is not 2 names with a / in between"),
            ("name(parts=2)", "a/b/c", "is not 2 names with a / in between"),
            ("name(parts=2)", "a/", "a name is empty"),
        ],
    )
    def test_anything_else_is_refused_as_a_name(self, filters: str, value: str, reason: str) -> None:
        template = compile_template(f"--of={{{{ labels.unit | {filters} }}}}", TemplateKind.ARGUMENT)
        with pytest.raises(RefusedError, match=reason):
            template.render({"labels": LabelView({"unit": value})})

    @pytest.mark.parametrize("value", ["a*", "?", "[ab]", "all"])
    def test_what_may_be_more_than_one_thing_is_not_literal(self, value: str) -> None:
        template = compile_template("stop {{ labels.unit | literal('all') }}", TemplateKind.ARGUMENT)
        with pytest.raises(RefusedError, match="may stand for more than one thing"):
            template.render({"labels": LabelView({"unit": value})})
        assert template.render({"labels": LabelView({"unit": "all.service"})}) == "stop all.service"

    def test_compiled_once(self) -> None:
        assert compile_template("{{ labels.pod }}", TemplateKind.TEXT) is compile_template(
            "{{ labels.pod }}", TemplateKind.TEXT
        )


class TestArgument:
    @pytest.mark.parametrize(
        ("source", "text"),
        [
            ("--unit={{ labels.dash }}", "--unit=-rf"),
            ("-{{ labels.pod }}", "-web-1"),
            ("{{ labels.evil }}", LABELS["evil"]),
            ("{{ labels.empty }}", ""),
            ("{% if replicas %}-a{% else %}-b{% endif %}{{ labels.dash }}", "-a-rf"),
        ],
    )
    def test_renders(self, source: str, text: str) -> None:
        assert render(source, TemplateKind.ARGUMENT) == text

    @pytest.mark.parametrize(
        "source",
        [
            "{{ labels.dash }}",
            "{{ labels.empty }}{{ labels.dash }}",
            "{% if false %}x{% endif %}{{ labels.dash }}",
            "{{ labels.dash if flag else 'x' }}",
            "{{ ' -x' | trim }}",
        ],
    )
    def test_a_value_never_becomes_an_option(self, source: str) -> None:
        assert "would be taken for an option" in refusal(source, TemplateKind.ARGUMENT)


SAFE_SHELL = [
    "printf %s {{ v }}",
    'printf %s "$(printf %s {{ v }})"',
    "(printf %s {{ v }})",
    "{ printf %s {{ v }}; }",
    "if true; then printf %s {{ v }}; fi",
    "case x in x) printf %s {{ v }};; esac",
    "# it's\nprintf %s {{ v }}",
    "cat >/dev/null <<E\nit's\nE\nprintf %s {{ v }}",
    "cat >/dev/null <<-'E'\n\tit's $(\n\tE\nprintf %s {{ v }}",
    "printf '%s' {{ v }} \\\n && true",
    'X={{ v }}; printf %s "$X"',
    'printf %s "it\'s">/dev/null; printf %s {{ v }}',
    "printf %s `echo '\"'` > /dev/null; printf %s {{ v }}",
    "echo $((1 + (2))) ${X:-y} > /dev/null; printf %s {{ v }}",
    'for x in {{ v }}; do printf %s "$x"; done',
    'f() { printf %s "$1"; }; f {{ v }}',
]
SHELLS = [name for name in ("dash", "bash") if shutil.which(name)]


class TestShell:
    @pytest.mark.parametrize("shell", SHELLS)
    @pytest.mark.parametrize("source", SAFE_SHELL)
    @pytest.mark.parametrize("label", ["evil", "quotes", "lines", "pod", "markup", "regex"])
    def test_a_value_is_one_word(self, source: str, label: str, shell: str, tmp_path: Path) -> None:
        text = compile_template(source, TemplateKind.SHELL).render({"v": LABELS[label]})
        done = subprocess.run([shell, "-c", text], capture_output=True, text=True, cwd=tmp_path, check=True)
        # Command substitution takes trailing newlines, and only those, away.
        assert done.stdout == LABELS[label]
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(
        ("source", "words"),
        [
            ("echo '{{ v }}'", "inside '…'"),
            ('echo "{{ v }}"', 'inside "…"'),
            ("echo `echo {{ v }}`", "inside `…`"),
            ("echo $(echo '{{ v }}')", "inside '…'"),
            ("echo $((1 + {{ v }}))", "in arithmetic"),
            ("((x = {{ v }}))", "in arithmetic"),
            ("echo $[1 + {{ v }}]", "follows $["),
            ("true # {{ v }}", "in a comment"),
            ("cat <<E\n{{ v }}\nE", "in a here-document"),
            ("cat << -E\nE\n{{ v }}\n-E", "in a here-document"),
            ("cat <<'E' | cat\n{{ v }}\nE", "in a here-document"),
            ("cat <<A <<B\nA\n{{ v }}\nB", "in a here-document"),
            ("cat <<E\na\\\nE\n{{ v }}", "a here-document that goes on"),
            ("cat <<{{ v }}\nx", "in the end mark"),
            ("echo ${X:-{{ v }}}", "inside ${…}"),
            ("echo ${X:-'a'} {{ v }}", "inside ${…}"),
            ("echo \\{{ v }}", "right behind \\"),
            ("echo ${{ v }}", "right behind $"),
            ("echo $'a' {{ v }}", "follows $'"),
            ("eval {{ v }}", "follows `eval`"),
            ("[[ {{ v }} -eq 1 ]]", "follows `[[`"),
            ("let {{ v }}", "follows `let`"),
            ("a[{{ v }}]=1", "inside an index"),
            ('echo "$(case x in x) echo "{{ v }}";; esac)"', "follows `case` inside parentheses"),
            ("echo {% if v %}'{% endif %}{{ v }}", "inside '…'"),
            ("echo '{% if v %}'{% endif %}{{ v }}", "inside '…'"),
        ],
    )
    def test_no_value_where_quoting_does_not_hold(self, source: str, words: str) -> None:
        error = fault(source, TemplateKind.SHELL)
        assert words in str(error)
        assert error.offset == source.rindex("{{ v }}")

    @pytest.mark.parametrize(
        "source", ["rm {{ labels.dash }}", 'rm ""{{ labels.dash }}', "rm $X{{ labels.dash }}", "{{ labels.dash }}"]
    )
    def test_a_value_never_becomes_an_option(self, source: str) -> None:
        assert "would be taken for an option" in refusal(source, TemplateKind.SHELL)

    def test_a_value_may_begin_with_a_dash_inside_a_word(self) -> None:
        assert (
            render("rm --file={{ labels.dash }} ./{{ labels.dash }}", TemplateKind.SHELL) == "rm --file='-rf' ./'-rf'"
        )

    def test_quoting_is_around_the_whole_expression(self) -> None:
        assert (
            render("echo {{ labels.pod ~ ' ' ~ labels.quotes | upper }}", TemplateKind.SHELL)
            == "echo 'web-1 A'\"'\"'B\"C'"
        )
        assert render("echo {{ labels.markup }}", TemplateKind.SHELL) == "echo '<b>'\"'\"'</b>'"

    @pytest.mark.slow
    @settings(max_examples=250, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
    @given(
        st.lists(
            st.sampled_from(
                [
                    "'",
                    '"',
                    "`",
                    "$",
                    "(",
                    ")",
                    "((",
                    "))",
                    "$(",
                    "${",
                    "}",
                    "\\",
                    "#",
                    " ",
                    "\n",
                    ";",
                    "&",
                    "|",
                    "<<E",
                    "<<-'E'",
                    "E",
                    "\nE\n",
                    "<<<",
                    "[",
                    "]",
                    "=",
                    "x",
                    "echo ",
                    "case x in ",
                    " x) ",
                    " esac",
                    "{",
                    "\t",
                    "{{ v }}",
                    " {{ v }} ",
                    "$X",
                ]
            ),
            max_size=14,
        ).map(lambda parts: "".join(parts) + "{{ v }}")
    )
    @example("<<E '\nE\n{{ v }}")
    def test_whatever_the_text_a_value_is_never_run(self, tmp_path: Path, source: str) -> None:
        """Any shell text that is accepted, most of it nonsense, runs nothing that a value holds."""
        try:
            template = compile_template(source, TemplateKind.SHELL)
        except TemplateError:
            return
        witness = tmp_path / "witness"
        touch = f"touch {witness}"
        for value in (
            f"$({touch})",
            f"`{touch}`",
            f"';{touch};'",
            f'";{touch};"',
            f"\n{touch}\n",
            f"\nE\n{touch}\n",
            f"x[$({touch})]",
            f");{touch};(",
            f"}}`{touch}`",
        ):
            text = template.render({"v": value})
            for shell in SHELLS:
                subprocess.run(
                    [shell, "-c", text],
                    cwd=tmp_path,
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    timeout=120,
                    check=False,
                )
                assert not witness.exists(), (shell, text)


class TestPromql:
    @pytest.mark.parametrize(
        ("source", "text"),
        [
            ('up{pod="{{ labels.quotes }}"}', 'up{pod="a\'b\\"c"}'),
            ("up{pod='{{ labels.quotes }}'}", "up{pod='a\\'b\"c'}"),
            ('up{pod="{{ labels.lines }}"}', 'up{pod="one\\ntwo"}'),
            ('up{pod="{{ labels.regex }}"}', 'up{pod="a.*|b\\\\d"}'),
            ('up{pod=~"{{ labels.regex }}-.*"}', 'up{pod=~"a\\\\.\\\\*\\\\|b\\\\\\\\d-.*"}'),
            ('up{pod!~"{{ labels.regex | regex_escape }}"}', 'up{pod!~"a\\\\.\\\\*\\\\|b\\\\\\\\d"}'),
            ('up{pod =~ "{{ labels.regex | regex }}"}', 'up{pod =~ "a.*|b\\\\d"}'),
            ("up{a=\"it's\", b=`\"`, pod='{{ labels.pod }}'} # '", "up{a=\"it's\", b=`\"`, pod='web-1'} # '"),
            ('label_replace(up, "a", "{{ labels.pod }}", "b", "(.*)")', 'label_replace(up, "a", "web-1", "b", "(.*)")'),
        ],
    )
    def test_renders(self, source: str, text: str) -> None:
        assert render(source, TemplateKind.PROMQL) == text

    @pytest.mark.parametrize(
        ("source", "words"),
        [
            ("up{pod={{ v }}}", "outside a string"),
            ("{{ v }} > 0", "outside a string"),
            ("up{pod=`{{ v }}`}", "in a raw `…` string"),
            ('up # "{{ v }}"', "in a comment"),
            ('up{pod="\\{{ v }}"}', "right behind a backslash"),
            ("up{pod={% if v %}\"{% else %}'{% endif %}{{ v }}", "in different quotes"),
        ],
    )
    def test_no_value_outside_a_string(self, source: str, words: str) -> None:
        error = fault(source, TemplateKind.PROMQL)
        assert words in str(error)
        assert error.offset == source.index("{{ v }}")

    @given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40))
    def test_the_string_reads_back_as_the_value(self, value: str) -> None:
        """Python reads what Prometheus' escapes for quotes, newlines and backslashes mean as Prometheus does."""
        for quote in "\"'":
            text = compile_template(f"{quote}{{{{ v }}}}{quote}", TemplateKind.PROMQL).render({"v": value})
            assert quote not in text[1:-1].replace("\\\\", "").replace("\\" + quote, "")
            assert (
                text[1:-1].replace("\\\\", "\0").replace("\\n", "\n").replace("\\" + quote, quote).replace("\0", "\\")
                == value
            )


class TestUrl:
    @pytest.mark.parametrize(
        ("source", "text"),
        [
            ("http://{{ labels.host }}/restart/{{ labels.pod }}", "http://web1:9100/restart/web-1"),
            (
                "http://api/x/{{ service.name }}?q={{ labels.quotes }}#{{ labels.pod }}",
                "http://api/x/shop%2Fcheckout?q=a%27b%22c#web-1",
            ),
            ("http://{{ labels.evil | replace(' ', '@') }}/", None),
            ("{{ 'http://api:80/v1' }}/{{ labels.pod }}", "http://api:80/v1/web-1"),
        ],
    )
    def test_a_value_stays_in_its_part(self, source: str, text: str | None) -> None:
        rendered = render(source, TemplateKind.URL)
        assert text is None or rendered == text
        assert "@" not in rendered
        assert " " not in rendered

    def test_a_value_leads_to_no_other_path(self) -> None:
        assert "would lead to another path" in refusal("http://api/services/{{ labels.up }}/restart", TemplateKind.URL)


PIECES = (
    "{{", "}}", "{%", "%}", "{#", "#}", "labels", ".pod", "['evil']", "service.name", "values", "|", "default('x')", "join",
    "range(9**9)", "'a' * 10**9", "10 ** 10 ** 10", "for x in", "endfor", "if", "endif", "set", "=", "x", " ", "\n", "__class__",
    "mro()", "args.list", "(", ")", "~", "+", "%", "[", "]", ",", "1", "'", '"', "\\", "é", "\0", "macro m()", "loop", "recursive",
)  # fmt: skip


@settings(max_examples=400)
@given(
    st.lists(st.sampled_from(PIECES), max_size=25).map("".join) | st.text(max_size=40), st.sampled_from(TemplateKind)
)
def test_any_text_is_rendered_or_refused_in_bounded_time_and_space(source: str, kind: TemplateKind) -> None:
    try:
        rendered = compile_template(source, kind).render(CONTEXT)
    except (TemplateError, RefusedError):
        return
    assert len(rendered.encode()) <= RESULT_LIMIT


@pytest.mark.parametrize("kind", TemplateKind)
@pytest.mark.parametrize(
    "source",
    [
        "{{ labels.%s }}", "a {{ labels['%s'] }} b\n", "x='{{ labels.%s }}'", '"{{ labels.%s }}-{{ labels.pod }}"',
        'up{a="{{ labels.%s }}"}', "http://h/{{ labels.%s }}?a={{ labels.pod }}", "{{ labels.pod }}:{{ labels.%s }}",
    ],
)  # fmt: skip
def test_text_and_labels_alone_are_put_together_as_jinja_would(source: str, kind: TemplateKind) -> None:
    """They are by far the most, and Jinja is slow; the writers and their refusals have to be the same."""

    def outcome(template: Template) -> str:
        try:
            return template.render(CONTEXT)
        except RefusedError as error:
            return f"refused: {error}"

    for label in [*(name for name in LABELS if name.isidentifier()), "absent"]:
        try:
            template = compile_template(source % label, kind)
        except TemplateError:
            continue
        known = outcome(template)
        assert template._direct is not None
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(template, "_direct", None)
            assert outcome(template) == known
