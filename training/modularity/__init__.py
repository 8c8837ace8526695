"""Emergent modularity (arXiv 2305.18390): do neurons of a pre-trained model specialise in functions, do those of one
function lie together in experts, and since when in training?

    anatomy        where a model keeps its neurons; opening local Hugging Face folders
    functions      what neurons may be for: labelled sequences, from a token corpus or from files (labels)
    record         the largest activation of every neuron in every sequence
    predictivity   how well a neuron tells a sub-function: average precision
    experts        partitions of a layer's neurons: by their weights, and at random
    functional     experts that hold more of a sub-function's neurons than chance allows
    perturbation   what a model loses (objective) when the neurons of a sub-function are disturbed
    emergence      how early experts, neurons and random groups settle in training
    recipe, run    all of it on one model or on the snapshots of a training, in parts that are done once (parts)
"""
