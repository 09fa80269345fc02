"""The vendors, one file each. A new one: its file, its class in `AnyProvider`, its vectors, its row in the docs."""

from typing import Annotated

from pydantic import Field

from extproc.providers.azure import Azure
from extproc.providers.base import Provider
from extproc.providers.moonshot import Moonshot
from extproc.providers.openai import OpenAI
from extproc.providers.qwen import Qwen

AnyProvider = Annotated[Qwen | OpenAI | Azure | Moonshot, Field(discriminator="type")]

__all__ = ["AnyProvider", "Azure", "Moonshot", "OpenAI", "Provider", "Qwen"]
