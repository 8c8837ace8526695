"""Query of CC: from a handful of seeds to the documents of a corpus that treat them.

    seeds       what is looked for, by domain                                        seeds.py
    queries     what is asked: written by a language model, or taken from what was found    queries.py, writers/
    passages    documents cut to a length at which scores compare                     passages.py
    lexical     BM25 over passages                                                   terms.py, lexical.py
    dense       nearest neighbours of embeddings                                     embedder.py, dense.py
    fusion      best passage of a document, two rankings into one, caps and floors   fusion.py

Method: "Query of CC" (arXiv 2401.14624), which searches with BM25; the dense index is ours. How the phases of a run use
these parts: ``pipeline.harvest``.
"""
