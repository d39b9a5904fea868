"""Immutable data that every other package speaks of: alerts, matchers, health, rules, incidents, actions, pages.

No I/O and no decisions.
"""
