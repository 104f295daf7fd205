"""Floor 4: httpx's vocabulary. Transports, the pool per endpoint, the dial, the classifier, replaying of bodies."""
