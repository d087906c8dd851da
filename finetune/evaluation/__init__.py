"""Evaluation: the scores of a split, from statistics of each example."""
