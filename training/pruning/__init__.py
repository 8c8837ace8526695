"""Targeted structured pruning (Sheared LLaMA, Xia et al. 2024, arXiv 2310.06694).

target       the shape that is aimed at, and whether it can be reached
masks        hard-concrete gates over layers, heads, intermediate and hidden dimensions
constraint   Lagrange terms that drive the gates to the target shape
cut          from a masked model to a smaller plain one
baselines    the same shape by magnitude, or at random
learner      all of it as something the trainer trains
"""
