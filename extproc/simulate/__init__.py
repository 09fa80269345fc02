"""Simulated vendors: DashScope (native and compatible), OpenAI, Azure OpenAI and Moonshot on one port.

Rule: this package is a referee. It imports nothing of `extproc` outside itself, so a mistake in the
gateway cannot hide here, and it refuses what the real vendors refuse. Faults are asked for by a marker in
the last user message; the table is in `faults.py`. What arrived is read back from `/__sim__/requests`.
"""

from extproc.simulate.options import Options
from extproc.simulate.server import app, serve

__all__ = ["Options", "app", "serve"]
