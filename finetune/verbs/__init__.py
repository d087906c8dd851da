"""The verbs of the command line and of a notebook, one module for each.

They are a package of their own, so that `finetune.run` is the function and not a module.
"""
