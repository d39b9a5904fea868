"""Prometheus-driven alert remediator: judges services by PromQL and heals them by rule.

Layers, each importing only lower ones: shell (cli, app), motion (web, evaluator, engine, announce), memory (store,
lease), judgement (case, decide, gates, incident), rules (rulebook, rulefile, checks, config), hands (actions,
prometheus, grafana), nouns (alert, health, template, matcher), words (problem, durations, errors, clock).
"""

__version__ = "0.1.0"
