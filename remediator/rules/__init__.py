"""From rule files to a `Rulebook`, or every problem at once: fields, loader, errors, lints, PromQL text analysis, guards."""
