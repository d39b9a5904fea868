"""The SQL of each table, in words that SQLite and PostgreSQL have in common."""
