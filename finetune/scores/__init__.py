"""Scores: how good predictions are. Each score has its label, its direction and its statistics."""
