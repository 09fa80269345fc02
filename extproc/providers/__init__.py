"""The vendors: those of the table (`vendors/`), and one file for each that needs code. A new one: CONTRIBUTING.md."""

from typing import Annotated

from pydantic import Field

from extproc.providers.azure import Azure
from extproc.providers.base import Provider
from extproc.providers.moonshot import Moonshot
from extproc.providers.openai import OpenAI
from extproc.providers.qwen import Qwen
from extproc.providers.vendors import VENDOR_KEYS, Vendor

AnyProvider = Annotated[Qwen | OpenAI | Azure | Moonshot | Vendor, Field(discriminator="type")]

__all__ = ["VENDOR_KEYS", "AnyProvider", "Azure", "Moonshot", "OpenAI", "Provider", "Qwen", "Vendor"]
