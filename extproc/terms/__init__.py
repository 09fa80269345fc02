"""The vocabulary: what a call is, what Envoy says and hears, the error tree, names shared with Envoy.

Rule: frozen data and path grammar; nothing here decides. Pure.
"""
