"""Who may use how much: which limits apply, what is left of them, and what was used when.

Rule: pure, on numbers of time that are passed in. Files, Redis and processes are the shells' above.
"""
