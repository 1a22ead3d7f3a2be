"""The explored world."""
