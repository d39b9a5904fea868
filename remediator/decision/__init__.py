"""Pure functions: from series and alerts to health, and from a snapshot of one service to one decision.

`gates.GATES` is the policy. Nothing here reads a clock, awaits, or talks to the store.
"""
