"""The recipe of the ``blocks`` extractor's weights: pages with a known main text become two forests and two tables.

``recipe``   what the manifest says
``sources``  pages with a reference text: from people (gold) or from a teacher engine
``groups``   which pages may not be parted between training and test: hosts and near duplicates
``align``    which words of a page are in its reference text, and so which blocks are main text
``fit``      hashed words and class names, first forest, second forest, each out of fold for the next
``measure``  word F1 out of fold, by source, kind of page and language
``card``     the report for people
``train``    all of it
"""
