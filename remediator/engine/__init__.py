"""The loops that move: evaluate thresholds, take alerts in, decide in cycles, write, start steps, reconcile."""
