"""Escaping contexts: inside which quotes of shell text, PromQL or a URL an expression stands.

`compile` walks the author's text with a context and asks it, at each expression, for the `Escaping` of a value there.
Contexts are immutable and hashable, so that both branches of an `if` can be followed. They read the author's text,
never a value. A context in which no quoting is safe raises TemplateError.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import NamedTuple, Protocol, Self

from remediator.errors import TemplateError


class Escaping(Enum):
    """How a value is escaped."""

    TEXT = "as it is"
    OPTION_FREE = "as it is, not beginning with -"
    WORD = "inside a shell word"
    WORD_START = "at the start of a shell word"
    DOUBLE = 'in "…" of PromQL'
    SINGLE = "in '…' of PromQL"
    DOUBLE_REGEX = 'in a regular expression in "…" of PromQL'
    SINGLE_REGEX = "in a regular expression in '…' of PromQL"
    HOST = "in the host of a URL"
    SEGMENT = "in a part of a URL"


STRICTER = {Escaping.TEXT: Escaping.OPTION_FREE, Escaping.WORD: Escaping.WORD_START}
"""For an escaping, the stricter one that also serves an expression that can be reached in both contexts."""


class EscapingContext(Protocol):
    """A position in the author's text."""

    def after(self, text: str) -> Self:
        """The context after more of the author's text."""
        ...

    def escaping(self) -> Escaping:
        """How a value is escaped here. TemplateError when no value is safe here."""
        ...

    def after_value(self) -> Self:
        """The context after a value."""
        ...


class TextContext(NamedTuple):
    """Text for people, and other text that needs no quoting."""

    def after(self, text: str) -> TextContext:
        return self

    def escaping(self) -> Escaping:
        return Escaping.TEXT

    def after_value(self) -> TextContext:
        return self


class ArgumentContext(NamedTuple):
    """One element of an argv."""

    begun: bool = False

    def after(self, text: str) -> ArgumentContext:
        return ArgumentContext(self.begun or bool(text))

    def escaping(self) -> Escaping:
        return Escaping.TEXT if self.begun else Escaping.OPTION_FREE

    def after_value(self) -> ArgumentContext:
        # The value may be empty, and the next one then begins the argument.
        return self


class UrlContext(NamedTuple):
    """A URL. `prefix` is the text so far, with NUL for each value."""

    prefix: str = ""

    def after(self, text: str) -> UrlContext:
        return UrlContext(self.prefix + text)

    def escaping(self) -> Escaping:
        if not self.prefix:
            # In `{{ url }}/restart` the value is a whole URL, or the beginning of one.
            return Escaping.TEXT
        return Escaping.HOST if re.fullmatch(r"(?:[^/?#]*://)?[^/?#]*", self.prefix) else Escaping.SEGMENT

    def after_value(self) -> UrlContext:
        return UrlContext(self.prefix + "\0")


class PromqlContext(NamedTuple):
    """PromQL text. `quote` is the quote of the current string, or `#` in a comment. `operator` is the last two characters
    before the string."""

    quote: str = ""
    escaped: bool = False
    operator: str = ""

    def after(self, text: str) -> PromqlContext:
        quote, escaped, operator = self
        for char in text:
            if escaped:
                escaped = False
            elif quote == "#":
                quote = "" if char == "\n" else quote
            elif quote:
                escaped = char == "\\" and quote != "`"
                quote = "" if char == quote else quote
            elif char in "\"'`#":
                quote = char
            elif not char.isspace():
                operator = operator[-1:] + char
        return PromqlContext(quote, escaped, operator)

    def escaping(self) -> Escaping:
        if self.escaped:
            raise TemplateError("stands right behind a backslash")
        if self.quote not in ('"', "'"):
            where = {"`": "in a raw `…` string", "#": "in a comment"}.get(self.quote, "outside a string")
            raise TemplateError(f"stands {where} of PromQL: it has to stand inside \"…\" or '…'")
        if self.operator in ("=~", "!~"):
            return Escaping.DOUBLE_REGEX if self.quote == '"' else Escaping.SINGLE_REGEX
        return Escaping.DOUBLE if self.quote == '"' else Escaping.SINGLE

    def after_value(self) -> PromqlContext:
        return self


_REMEDY = 'hand it over in `env:` and write "$NAME" in the shell text'
_WHERE = {
    "'": "inside '…'",
    '"': 'inside "…"',
    "`": "inside `…`",
    "#": "in a comment",
    "<<": "in a here-document",
    "<<word": "in the end mark of a here-document",
    "((": "in arithmetic, or in doubled parentheses",
    "${": "inside ${…}",
}
_BREAKS = frozenset(" \t\n;|&<>()")
_CODE_WORDS = frozenset({"[[", "let", "eval", "trap"})
_QUOTE, _QUOTED = "\0", "\1"


class ShellContext(NamedTuple):
    """Text for `sh -c`, which may be dash or bash.

    `stack` holds the open constructs, outermost first. `word` is the current word, with marks for quotes and quoted
    characters. `before` is the last character, unless it was escaped. `lost` names a construct that shells disagree
    on, or that evaluates its words as code: no value may follow it.
    """

    stack: tuple[str, ...] = ()
    word: str = ""
    before: str = ""
    escaped: bool = False
    heredocs: tuple[str, ...] = ()
    line: str = ""
    lost: str = ""

    def after(self, text: str) -> ShellContext:
        context = self
        for char in text:
            if context.lost:
                break
            context = context._next(char)
        return context

    def escaping(self) -> Escaping:
        if self.lost:
            raise TemplateError(f"follows {self.lost}, where no quoting is sure to hold: {_REMEDY}")
        if inside := next((_WHERE[top] for top in reversed(self.stack) if top in ("`", "((", "<<")), ""):
            raise TemplateError(f"stands {inside}, where quoting does not hold: {_REMEDY}")
        if self.stack and self.stack[-1] in _WHERE:
            end = "take the quotes away, it is quoted by itself, or " if self.stack[-1] in ("'", '"') else ""
            raise TemplateError(f"stands {_WHERE[self.stack[-1]]}, where quoting does not hold: {end}{_REMEDY}")
        if self.escaped or self.before == "$":
            raise TemplateError(f"stands right behind {chr(92) if self.escaped else '$'}, which undoes its quoting")
        if "[" in self.word[1:]:
            raise TemplateError(f"stands inside an index in […], which shells take for code: {_REMEDY}")
        head = self.word.lstrip(_QUOTE)[:1]
        return Escaping.WORD_START if head in ("", "$") else Escaping.WORD

    def after_value(self) -> ShellContext:
        return self._replace(word=self.word + _QUOTE, before="x")

    def _next(self, char: str) -> ShellContext:
        top = self.stack[-1] if self.stack else ""
        if top == "<<":
            return self._in_heredoc(char)
        if top == "'":
            return self._pop(_QUOTE) if char == "'" else self._plain(char, _QUOTED)
        if top == "#":
            # The newline ends the comment, and is then read as any newline.
            return self._pop("")._next(char) if char == "\n" else self
        if self.escaped:
            if char == "\n":
                return self._replace(escaped=False)
            return self._replace(escaped=False, before="x", word=self.word + _QUOTED)
        if char == "\\":
            return self._replace(escaped=True)
        if top == "<<word":
            return self._in_end_mark(char)
        if top == "`":
            return self._pop("$") if char == "`" else self
        if char == "`":
            return self._push("`")
        if self.before == "$" and char in "({['":
            return self._expansion(char)
        if char == "$":
            return self._replace(word=self.word + "$", before="x" if self.before == "$" else "$")
        if top == '"':
            return self._pop(_QUOTE) if char == '"' else self._plain(char, _QUOTED)
        if top == "${":
            if char in "\"'(":
                return self._replace(lost="a quote or parenthesis inside ${…}")
            return self._pop("") if char == "}" else self._plain(char, "")
        if top == "((":
            return self._in_arithmetic(char)
        return self._in_command(char)

    def _in_command(self, char: str) -> ShellContext:
        if char in "\"'":
            return self._push(char)._replace(word=self.word + _QUOTE)
        if char == "#" and not self.word:
            return self._push("#")
        if char not in _BREAKS:
            return self._plain(char, char)
        if self.word in _CODE_WORDS or (self.word == "case" and any(part in self.stack for part in ("(", "$("))):
            return self._replace(lost=f"`{self.word}`" + (" inside parentheses" if self.word == "case" else ""))
        ended = self._replace(word="", before=char)
        if char == "(":
            if self.before == "(":
                return ended._replace(stack=(*self.stack[:-1], "((", "(("))
            return ended._replace(stack=(*self.stack, "("))
        if char == ")" and self.stack:
            if self.heredocs:
                return self._replace(lost="a here-document that begins inside parentheses")
            return ended._replace(stack=self.stack[:-1], word="$" if self.stack[-1] == "$(" else "")
        if char == "<" and self.before == "<":
            return ended._replace(stack=(*self.stack, "<<word"), line="")
        if char == "\n" and self.heredocs:
            return ended._replace(stack=(*self.stack, "<<"), line="")
        return ended

    def _expansion(self, char: str) -> ShellContext:
        if char == "'" and self.stack[-1:] == ('"',):
            return self._plain(char, _QUOTED)
        if char in "['":
            return self._replace(lost=f"${char}")
        if char == "{":
            return self._push("${")
        return self._push("$(")._replace(word="", before="(")

    def _in_arithmetic(self, char: str) -> ShellContext:
        if char in "\"'":
            return self._replace(lost="a quote in arithmetic, or in doubled parentheses")
        if char == "(":
            return self._push("((")
        return self._pop("$") if char == ")" else self._plain(char, "")

    def _in_end_mark(self, char: str) -> ShellContext:
        if char == "<" and not self.line:
            # After `<<<` comes a word, which is quoted as any other.
            return self._pop("")._replace(before="x")
        if char in " \t" and self.line in ("", " ", "-"):
            return self._replace(line=self.line or " ")
        if char in _BREAKS:
            # `<<-` allows tabs before the end mark; a dash after a blank belongs to the mark.
            mark = self.line if self.line.startswith("-") else " " + self.line.lstrip(" ")
            ended = self._pop("")._replace(heredocs=(*self.heredocs, mark), line="", word="", before="")
            return ended._next(char)
        return self._replace(line=self.line + ("" if char in "\"'" else char))

    def _in_heredoc(self, char: str) -> ShellContext:
        if char != "\n":
            return self._replace(line=self.line + char)
        if self.line.endswith("\\"):
            return self._replace(lost="a line of a here-document that goes on in the next")
        mark = self.heredocs[0]
        if (self.line.lstrip("\t") if mark.startswith("-") else self.line) != mark[1:]:
            return self._replace(line="")
        rest = self.heredocs[1:]
        return self._replace(heredocs=rest, line="", stack=self.stack if rest else self.stack[:-1], before="\n")

    def _plain(self, char: str, mark: str) -> ShellContext:
        return self._replace(word=self.word + mark, before=char)

    def _push(self, top: str) -> ShellContext:
        return self._replace(stack=(*self.stack, top), before="" if top != "((" else "(")

    def _pop(self, mark: str) -> ShellContext:
        return self._replace(stack=self.stack[:-1], word=self.word + mark, before="x")
