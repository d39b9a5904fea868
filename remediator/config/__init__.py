"""From YAML text to checked values, with positions.

The reader (`document`, `schema`, `scalars`) serves rule files and test files too; `settings` is the daemon's own config file.
"""
