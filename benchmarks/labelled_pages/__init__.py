"""Main text of pages that are no articles, decided by hand: see README.md."""
