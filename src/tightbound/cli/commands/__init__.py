"""The commands, one a file: a typed function whose parameters are its options and whose docstring is its help.

What takes long to import is imported when a command runs, so that help answers at once.
"""
