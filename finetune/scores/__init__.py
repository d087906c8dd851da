"""What predictions are worth; each score owns its label, its direction and its statistics."""
