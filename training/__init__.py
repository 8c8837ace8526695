"""Trainers that read a corpus: loader, mixing, pruning. They do not know how the corpus was made."""
