"""Per-example statistics, the scores they add up to, and the floors beside them."""
