"""What a corpus is: documents, shards on storage, atomic commits, the ledger. Knows no stage, no Ray, no torch."""
