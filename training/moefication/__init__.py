"""MoEfication (Zhang et al. 2022, arXiv 2110.01786): the neurons of a dense ReLU feed-forward, grouped into experts.

Most neurons are silent for any one token. Neurons that fire together are put into groups of equal size, and a router
names the few groups that a token needs; what they compute is what the dense layer would have computed, less the rest.
"""
