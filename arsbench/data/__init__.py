"""Text → rows: sources, tokenizer, packing, cache, loader.

`prepare` does all of it up to the rows and needs no torch; `arsbench.data.loader` makes batches of them.
"""

from arsbench.data.corpus import Corpus, PackedSplit, prepare

__all__ = ["Corpus", "PackedSplit", "prepare"]
