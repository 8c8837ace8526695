"""What `loader_speed.py` compares: one small module per loader, each opening the same mixture of the same tokens.

stream       what a candidate is: batches, state, change of weights
corpus       the generated text, its tokens, and their exports
ours, mosaic, litdata_tokens, hugging, naive, memmap     the candidates
child        the process that a candidate is measured in
measure      starting such processes, watching and killing them
checks       what is decided by doing it: kill and resume, other world sizes, a change of weights
"""
