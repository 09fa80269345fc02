"""Another gateway's configuration in our words, and what of it has no equivalent.

Rule: pure; prints no key.
"""
