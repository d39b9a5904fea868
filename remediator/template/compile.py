"""Templates: Jinja2 text in which values from outside are only ever data.

Each expression is wrapped in a writer for its context: a shell word, a PromQL string, an argument, a part of a URL. The
writer comes after all filters, so no filter can avoid it. Only expressions, filters and `if` are allowed. Without
loops, calls and assignments, the template's length bounds the work.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple, NoReturn

import jinja2
from jinja2 import meta, nodes

from remediator.errors import RefusedError, TemplateError
from remediator.template.context import (
    STRICTER,
    ArgumentContext,
    Escaping,
    EscapingContext,
    PromqlContext,
    ShellContext,
    TextContext,
    UrlContext,
)
from remediator.template.escaping import VALUE_LIMIT, shortened, write
from remediator.template.filters import FILTERS, RESULT_LIMIT, SANDBOX, WRITE, LabelView

__all__ = [
    "RESULT_LIMIT",
    "VALUE_LIMIT",
    "LabelView",
    "Template",
    "TemplateKind",
    "compile_template",
    "shortened",
    "templated",
]


class TemplateKind(StrEnum):
    """What a template's text is; it decides how values are escaped."""

    TEXT = "text"
    ARGUMENT = "argument"
    """Exactly one element of an argv."""
    SHELL = "shell"
    PROMQL = "promql"
    URL = "url"


_CONTEXTS: dict[TemplateKind, EscapingContext] = {
    TemplateKind.TEXT: TextContext(),
    TemplateKind.ARGUMENT: ArgumentContext(),
    TemplateKind.SHELL: ShellContext(),
    TemplateKind.PROMQL: PromqlContext(),
    TemplateKind.URL: UrlContext(),
}


class _LabelPart(NamedTuple):
    """A label in a template, and how it is written: the arguments of `write`."""

    label: str
    escaping: str
    written: str


_PLAIN = re.compile(r"[^{\r\n]*")
"""Text that Jinja returns unchanged: it has no tags, and no line ends that Jinja would normalise."""


class Template:
    """A compiled template. `labels` are the labels it uses, `variables` the variables it needs. Plain text has no tree."""

    def __init__(self, source: str, kind: TemplateKind, tree: nodes.Template | None) -> None:
        self.source = source
        self.kind = kind
        self.variables = self.labels = frozenset[str]()
        self._code: jinja2.Template | None = None
        self._direct: tuple[str | _LabelPart, ...] | None = None
        if tree is None:
            return
        _Escaper(source, kind).visit(tree)
        self.variables = frozenset(meta.find_undeclared_variables(tree))
        self.labels = frozenset(_labels_of(tree))
        self._direct = _direct(tree)
        self._code = SANDBOX.from_string(tree)

    def render(self, context: Mapping[str, object]) -> str:
        """Fill in the values. RefusedError when one is missing or unsafe."""
        try:
            text = self.source if self._code is None else self._of_labels(context) or self._code.render(context)
        except (jinja2.TemplateError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError) as error:
            raise RefusedError(f"cannot render {shortened(self.source)}: {error}") from None
        if len(text.encode("utf-8", "replace")) > RESULT_LIMIT:
            raise RefusedError(
                f"cannot render {shortened(self.source)}: the result is longer than {RESULT_LIMIT} bytes"
            )
        if "\0" in text:
            raise RefusedError(f"cannot render {shortened(self.source)}: it contains a NUL byte")
        return text

    def _of_labels(self, context: Mapping[str, object]) -> str:
        """The text of a template that is made of text and labels alone, by the same writers: most are, and ten thousand
        alerts name ten thousand services by one. Empty when it is another, or a label is missing: Jinja says why."""
        labels = context.get("labels")
        if self._direct is None or not isinstance(labels, LabelView):
            return ""
        parts = []
        for part in self._direct:
            if isinstance(part, str):
                parts.append(part)
                continue
            value = labels.get(part.label)
            if value is None:
                return ""
            parts.append(write(value, part.escaping, part.written))
        return "".join(parts)


def templated(text: str) -> bool:
    """Whether the text has template tags."""
    return any(mark in text for mark in ("{{", "{%", "{#"))


@lru_cache(maxsize=4096)
def compile_template(source: str, kind: TemplateKind) -> Template:
    """Compile a text. TemplateError, with the offset at fault, when it is invalid or unsafe."""
    if _PLAIN.fullmatch(source):
        # Most words of commands are plain, and ten thousand services may each have their own.
        return Template(source, kind, None)
    try:
        tree = SANDBOX.parse(source)
    except jinja2.TemplateSyntaxError as error:
        raise TemplateError(
            f"cannot read the template: {(error.message or '').rstrip(chr(46))}",
            _syntax_offset(source, error.lineno),
        ) from None
    except RecursionError:
        raise TemplateError("cannot read the template: it is nested too deeply", 0) from None
    return Template(source, kind, tree)


# Compiling: the nodes that are allowed, and the writer around each expression.

_EXPRESSIONS = (
    nodes.Name,
    nodes.Const,
    nodes.TemplateData,
    nodes.Getattr,
    nodes.Getitem,
    nodes.Slice,
    nodes.Filter,
    nodes.Test,
    nodes.CondExpr,
    nodes.Compare,
    nodes.Operand,
    nodes.And,
    nodes.Or,
    nodes.Not,
    nodes.Concat,
    nodes.Add,
    nodes.Sub,
    nodes.Mul,
    nodes.Div,
    nodes.FloorDiv,
    nodes.Mod,
    nodes.Neg,
    nodes.Pos,
    nodes.Tuple,
    nodes.List,
)
_MOST_CONTEXTS = 32


class _Escaper:
    """Walks a tree in the order of its text, checks it, and wraps each expression in the writer for its context."""

    def __init__(self, source: str, kind: TemplateKind) -> None:
        self._source = source
        self._spans = iter(_spans(source))
        self._at = 0
        self._contexts: frozenset[EscapingContext] = frozenset({_CONTEXTS[kind]})

    def visit(self, tree: nodes.Template) -> None:
        self._statements(tree.body)

    def _statements(self, body: Sequence[nodes.Node]) -> None:
        for node in body:
            if isinstance(node, nodes.Output):
                node.nodes = [self._output(part) for part in node.nodes]
            elif isinstance(node, nodes.If):
                self._if(node)
            else:
                self._at = _line_offset(self._source, node.lineno or 1)
                tag = re.compile(r"\{%[-+]?\s*(\w*)").match(self._source, self._at)
                self._refuse(f"{{% {tag[1] if tag else ''} %}} is not allowed: only if, elif and else are")

    def _if(self, node: nodes.If) -> None:
        before, ends = self._contexts, set[EscapingContext]()
        for clause in (node, *node.elif_):
            self._at = _line_offset(self._source, clause.lineno)
            self._check(clause.test)
            self._contexts = before
            self._statements(clause.body)
            ends |= self._contexts
        self._contexts = before
        self._statements(node.else_)
        self._contexts = frozenset(ends | self._contexts)
        if len(self._contexts) > _MOST_CONTEXTS:
            self._refuse("there are too many ways through this template to be sure of its quoting")

    def _output(self, part: nodes.Expr) -> nodes.Expr:
        if isinstance(part, nodes.TemplateData):
            self._contexts = frozenset(context.after(part.data) for context in self._contexts)
            return part
        self._at, written = next(self._spans)
        self._check(part)
        try:
            escaping = self._escaping()
        except TemplateError as error:
            self._refuse(f"cannot use {shortened(written)} here: it {error}")
        self._contexts = frozenset(context.after_value() for context in self._contexts)
        arguments: list[nodes.Expr] = [nodes.Const(escaping.name), nodes.Const(shortened(written))]
        return nodes.Filter(part, WRITE, arguments, [], None, None, lineno=part.lineno)

    def _escaping(self) -> Escaping:
        escapings = {context.escaping() for context in self._contexts}
        escapings -= {lax for lax, strict in STRICTER.items() if strict in escapings}
        if len(escapings) > 1:
            raise TemplateError("stands in different quotes, depending on an {% if %} before it")
        return escapings.pop()

    def _check(self, expression: nodes.Node) -> None:
        for node in (expression, *expression.find_all(nodes.Node)):
            if isinstance(node, nodes.Filter) and node.name not in FILTERS:
                self._refuse(f"there is no filter {node.name}: there are {', '.join(sorted(FILTERS))}")
            if isinstance(node, nodes.Test) and node.name not in SANDBOX.tests:
                self._refuse(f"there is no test {node.name}")
            if not isinstance(node, (*_EXPRESSIONS, nodes.Keyword)):
                self._refuse(f"{type(node).__name__.lower()} is not allowed in a template")

    def _refuse(self, message: str) -> NoReturn:
        raise TemplateError(message, self._at)


def _direct(tree: nodes.Template) -> tuple[str | _LabelPart, ...] | None:
    """The parts of an escaped tree that is made of text and labels alone, otherwise None."""
    parts: list[str | _LabelPart] = []
    for output in tree.body:
        if not isinstance(output, nodes.Output):
            return None
        for node in output.nodes:
            match node:
                case nodes.TemplateData(data=str(text)):
                    parts.append(text)
                case nodes.Filter(
                    node=nodes.Getattr(node=nodes.Name(name="labels"), attr=str(label))
                    | nodes.Getitem(node=nodes.Name(name="labels"), arg=nodes.Const(value=str(label))),
                    name=name,
                    args=[nodes.Const(value=str(escaping)), nodes.Const(value=str(written))],
                ) if name == WRITE:
                    parts.append(_LabelPart(label, escaping, written))
                case _:
                    return None
    return tuple(parts)


def _labels_of(tree: nodes.Template) -> set[str]:
    """Names that are used as `labels.x` or `labels['x']`."""
    names = set()
    for node in tree.find_all((nodes.Getattr, nodes.Getitem)):
        match node:
            case nodes.Getattr(node=nodes.Name(name="labels"), attr=str(key)):
                names.add(key)
            case nodes.Getitem(node=nodes.Name(name="labels"), arg=nodes.Const(value=str(key))):
                names.add(key)
    return names


def _spans(source: str) -> Iterator[tuple[int, str]]:
    """Offset and text of each `{{ … }}`, in order. Searches for the tokens, because the lexer drops blanks before `-`."""
    at = begin = 0
    for _, mark, text in SANDBOX.lexer.tokeniter(source, None):
        at = max(source.find(text, at), at)
        if mark == "variable_begin":
            begin = at
        at += len(text)
        if mark == "variable_end":
            yield begin, source[begin:at]


def _line_offset(source: str, line: int) -> int:
    """Offset of the first tag on a line, or of the line."""
    start = sum(len(text) for text in source.splitlines(keepends=True)[: line - 1])
    tag = re.compile(r"\{[{%]").search(source, start)
    return tag.start() if tag and "\n" not in source[start : tag.start()] else start


def _syntax_offset(source: str, line: int) -> int:
    """Offset of the first expression that cannot be parsed by itself, or of the line that the parser named."""
    try:
        for offset, text in _spans(source):
            try:
                SANDBOX.parse(text)
            except jinja2.TemplateSyntaxError:
                return offset
    except jinja2.TemplateSyntaxError:
        pass
    return _line_offset(source, line)
