"""Feed-forwards that compute only the experts chosen for each token, by whichever kernel is fastest.

A ReLU feed-forward of f neurons is divided into E experts of f / E neighbouring neurons; row i of ``w_in`` and of
``w_out`` (both [f, d]) belongs to neuron i. It computes the function of the dense layer with a 0/1 mask on its neurons.

ffn          sparse_ffn: forward and backward, written once over the products that a kernel offers
pairs        (token, expert) pairs sorted by expert, and the sum over a token's experts
products     what a kernel offers; names, and which of them can be had here
masked       the dense layer under a mask: the reference, and the candidate that nothing may be slower than
loop         one product per expert, for the CPU
bmm          buffers of one size for all experts, exact or with a capacity
grouped      grouped products of PyTorch
fused        our Triton kernels with gathers and epilogues inside
kernels      those kernels
dispatch     which kernel, by measurement, remembered
decode       one to four rows: read the chosen experts' weights and nothing else

Nothing here imports Triton before a kernel of it is asked for.
"""
