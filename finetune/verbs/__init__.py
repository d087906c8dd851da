"""What a user does, a module each; apart, so that `finetune.run` is always the function."""
