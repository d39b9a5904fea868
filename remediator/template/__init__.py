"""Text with untrusted values: a template is compiled once, and each value is escaped for its context, or refused.

`context` follows the author's text (an argument, shell text, PromQL, a URL), `escaping` writes a value into it,
`filters` has what an expression may do with values, and `compile` puts them together.
"""
