"""What a model puts out, one module a kind."""
