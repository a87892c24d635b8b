"""Making examples: from documents, from tables, from rows that are there, and pairs of answers of which one is better."""
