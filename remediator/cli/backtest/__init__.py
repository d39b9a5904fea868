"""`remediator backtest`: the command, and its report as text and as a file."""
