"""Envoy's side: its bootstrap and resources, the files it follows, its process.

Rule: the only folder that imports `envoy_data_plane` (0.5 s, 30 MiB), so nothing on a request's path imports it.
"""
