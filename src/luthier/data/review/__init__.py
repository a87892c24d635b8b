"""Rows that a person looks at: which ones, what was decided about each, and what that says of all rows."""
