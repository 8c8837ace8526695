"""From published shards to batches, in an order that is a pure function of seed, domain, epoch and index.

tokenizer     text -> token ids, with a local Hugging Face tokenizer or one trained here
packing       documents -> rows of equal length
rows          the format of token shards
source        what a corpus consists of: domains and blocks, checked against their hashes
order         position in a domain's endless stream -> block and row
mixture       which domain gives the next row; the journal of weights
planner       step -> the rows of its global batch
loader        prefetching, batches, state; the faces that torch knows
"""
