"""Harvests (Query of CC) as phases of the engine; what is computed in them: ``retrieval``.

run.py        the whole: index, rounds of queries, verdicts for every unit of the corpus
index.py      building the index: index_tasks.py does the work, index_card.py says what an index is
queries.py    rounds of queries: query_tasks.py does the work, feedback.py writes key phrases
search.py     searching the index for a table of queries
control.py    a random sample of the corpus, to compare with
report.py     the section of the report
ask.py        ``pipeline search``
"""
