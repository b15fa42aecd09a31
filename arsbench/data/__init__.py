"""Text → rows: sources, tokenizer, packing, cache, loader.

`load_corpus` does all of it up to the rows and needs no torch; `arsbench.data.loader` makes batches of them.
"""

from arsbench.data.corpus import Corpus, PackedSplit, load_corpus

__all__ = ["Corpus", "PackedSplit", "load_corpus"]
