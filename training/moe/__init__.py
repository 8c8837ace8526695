"""Mixtures of experts with Rectify-Router (Zeng et al. 2024, arXiv 2402.12399).

settings     sizes of a mixture, and how its router is rectified
routing      from router logits to slots, gates and stand-ins: pure functions
layer        the feed-forward with experts
parallel     several ranks: experts spread over them, and what the trainer must know
upcycle      from a dense model to a mixture of its copies
checkpoint   a mixture on disk
learner      all of it as something the trainer trains
recipe, run  a source model, upcycled and trained on under several routers
"""
