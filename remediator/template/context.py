"""Where in a text a value would land: inside which quotes of shell text, PromQL or a URL, told character by character.

`template` walks the author's own text with one of these and asks, at each expression, for the `Mode` in which a value
has to be written there. A place is immutable and hashable, so that the two branches of an `if` can be followed at once.
Only the author's text is read here, never a value. A place where no quoting is safe raises TemplateError.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import NamedTuple, Protocol, Self

from remediator.errors import TemplateError


class Escaping(Enum):
    """How a value is written into the text around it."""

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
"""Modes with the stricter one that serves too, when an expression can be reached in both."""


class EscapingContext(Protocol):
    """A position in a text."""

    def after(self, text: str) -> Self:
        """The place behind some more of the author's text."""
        ...

    def escaping(self) -> Escaping:
        """How a value is written here. TemplateError when none can be."""
        ...

    def after_value(self) -> Self:
        """The place behind a value."""
        ...


class TextContext(NamedTuple):
    """Text for people, and whatever else needs no quoting."""

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
        # The value may be empty, so the next one may still be the argument's beginning.
        return self


class UrlContext(NamedTuple):
    """A URL; `prefix` is what stands before, with NUL for a value."""

    prefix: str = ""

    def after(self, text: str) -> UrlContext:
        return UrlContext(self.prefix + text)

    def escaping(self) -> Escaping:
        if not self.prefix:
            # `{{ url }}/restart`: the author hands over a URL, or its beginning, as a whole.
            return Escaping.TEXT
        return Escaping.HOST if re.fullmatch(r"(?:[^/?#]*://)?[^/?#]*", self.prefix) else Escaping.SEGMENT

    def after_value(self) -> UrlContext:
        return UrlContext(self.prefix + "\0")


class PromqlContext(NamedTuple):
    """PromQL text. `quote` is the string it is in, or `#` in a comment; `operator` the last two signs before it."""

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

    `stack` holds the constructs it is in, outermost first; `word` what is known of the word being read, with marks for
    quotes and for quoted characters; `before` the last character, unless it was escaped. Once a construct comes that
    shells do not agree on, or that takes its words for code, `lost` names it, and no value may follow.
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
            # The newline ends the comment and then does what a newline does.
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
            # `<<<` hands over a word, which is quoted as any other.
            return self._pop("")._replace(before="x")
        if char in " \t" and self.line in ("", " ", "-"):
            return self._replace(line=self.line or " ")
        if char in _BREAKS:
            # `<<-` lets tabs stand before the end mark; a dash after a blank belongs to the mark.
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
