"""What is remembered: one method per domain operation, on SQLite or PostgreSQL, and which process leads.

`interface` is the contract. The invariants are unique indexes of the schema (`migrations`).
"""
