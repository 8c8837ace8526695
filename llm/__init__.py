"""Talking to a language model: a client for OpenAI-compatible servers, vLLM servers of our own, prompts as data.

Everything that comes from outside, text that goes into a prompt as well as what a model answers, is data here: it is
fenced on its way in (``fence``) and validated on its way out (``structured``).
"""
