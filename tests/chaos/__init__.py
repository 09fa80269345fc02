"""Faults under load: real Envoy, real sidecar, vendors that misbehave, and a client that counts (`make chaos`)."""
