"""The second tier: a Transformer encoder under a small head, a hundred times dearer than fastText."""
