"""A file or the environment → frozen models, and every word that is said of what is wrong with them.

Rule: validation happens here and in `providers/`, at the door; files are read through `Files` only.
"""
