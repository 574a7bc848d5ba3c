"""The database: SQLite by default, PostgreSQL for teams. Queries are SQL text, one file a noun."""
