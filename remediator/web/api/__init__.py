"""The HTTP API under /api/v1: its routes, the operations of operators, and the JSON form of each object."""
