"""LiteLLM's proxy beside us on the same traffic: what each sends to the vendor, and what each answers."""
