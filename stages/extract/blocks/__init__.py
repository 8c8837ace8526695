"""The ``blocks`` engine: main text without a DOM, by a compiled tokenizer and two small stages of boosted trees.

The way of a page, one module each:

``tokenizer``   bytes to blocks of visible text, elements and spans (``text_kernel``, ``markup_kernel``, ``tree_kernel``
                on the memory that ``memory`` describes; ``columns`` names the columns, ``tags`` and ``lexicon`` what it
                knows of HTML and of class names)
``features``    144 numbers per block
``forest``      boosted trees: how likely is a block main text?
``context``     the same numbers and what the trees said of the neighbourhood; a second forest decides
``select``      which blocks to keep, for precision, balance or recall, and how good that is expected to be
``render``      kept blocks as plain text or Markdown
``model``       the weights, checked when they are loaded
``engine``      all of it, one call per page
"""
