"""The dialects of clients: what they ask → a chat request, deltas → what they read.

Rule: one file per front (or per half of one), which knows no vendor: what differs between them comes as `Traits`.
"""
