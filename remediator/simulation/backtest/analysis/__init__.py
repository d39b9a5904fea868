"""The outcome of a replay as numbers: heals, holds, episodes, totals, comparisons. Pure functions."""
