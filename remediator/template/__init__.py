"""Text with untrusted values: a template is compiled once, and each value is written as its place demands, or refused.

`context` finds the place (an argument, shell text, PromQL, a URL), `escaping` writes the value for it, `compile` does both.
"""
