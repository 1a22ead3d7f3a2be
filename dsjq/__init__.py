"""DSJQ: a small job queue over TCP. The broker owns the state; producers submit; workers work."""
