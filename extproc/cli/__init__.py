"""Commands and options.

Rule: the door of the program: the environment is read here and passed in.
"""
