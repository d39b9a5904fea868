"""The HTTP API under /api/v1: its routes, what operators can do, and how each thing is written as JSON."""
