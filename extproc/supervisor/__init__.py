"""The processes: start, watch, change, replace; the admin port.

Rule: no gRPC here; what workers and Envoy shall serve is checked before any of them hears of it.
"""
