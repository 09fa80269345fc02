"""Vendors with a protocol of their own: for each a provider, its requests and its answers.

Rule: a request is made of OpenAI's chat (`conversation.py` reads it once for all), an answer becomes deltas. Nothing
here knows a front.
"""
