"""Where training windows come from: one module per model, over shared readers, corruptions and phrases.

Each model module has ``build(data, part, rng) -> list[Example]``. A part (train, calibrate, test) is built only from
the documents, posts and phrases that belong to it, so nothing composed of training pieces is ever measured on.
"""
