"""Bytes and names: JSON that keeps untouched values, SSE framing, compression, patterns.

Rule: knows nothing of the job; no vendor, no client, no configuration. Pure.
"""
