"""Switchable sparse-dense pre-training (Zhang et al. 2024, arXiv 2410.03440): train dense while neurons still change
partners, sparse while they do not, dense at the end; the model then runs either way."""
