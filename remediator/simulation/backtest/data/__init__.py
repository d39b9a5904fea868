"""What Prometheus remembers: range queries, how far back they can go, and the answers that are kept."""
