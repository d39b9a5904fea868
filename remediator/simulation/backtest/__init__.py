"""Backtest: what the rules would have done, by what Prometheus remembers.

The engine, its gates and its templates are the real ones, on virtual time. `data` asks Prometheus for ranges and keeps the
answers, `replay` plays them to a remediator whose calls are only recorded, and `analysis` turns the outcome into
numbers. `report` joins these, and `html_report` shows them. History does not react to a heal, so each replay assumes one
`ReplayReading` of what a heal would have changed.
"""
