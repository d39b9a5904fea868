"""Backtest: what the rules would have done, by what Prometheus remembers.

The engine, its gates and its templates are the real ones, on virtual time as in every rehearsal. `extent` finds out how far
back Prometheus remembers, `asking` asks it for ranges, and `history` keeps the answers; `recording` is what an expression
answered over a stretch of time; `replay` plays them to a remediator whose hands only take note; `findings` are what came of
it, and `compare` sets two of them side by side; `page` shows them. History does not react to what is done: each replay is
by one `Reading` of what a heal would have changed.
"""
