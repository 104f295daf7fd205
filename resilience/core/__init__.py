"""Floor 0: the nouns and the ports. Everything else in the library is built from what stands here."""
