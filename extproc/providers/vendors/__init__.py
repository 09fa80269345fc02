"""Vendors that speak OpenAI's API with differences: a table of rows, and one class that serves them all.

Rule: a vendor is a row. What no row can say is a new attribute in `quirks.py`, applied in one place, or a file beside
this folder.
"""

from extproc.providers.vendors.row import Row
from extproc.providers.vendors.table import ROWS
from extproc.providers.vendors.vendor import KEYS, VENDOR_KEYS, Vendor, refused

__all__ = ["KEYS", "ROWS", "VENDOR_KEYS", "Row", "Vendor", "refused"]
