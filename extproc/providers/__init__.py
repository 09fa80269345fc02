"""The vendors: those of the table (`vendors/`), those with a protocol of their own (`protocols/`), and one file for
each other that needs code. A new one: CONTRIBUTING.md."""

from typing import Annotated

from pydantic import Field

from extproc.providers.azure import Azure
from extproc.providers.base import Provider
from extproc.providers.moonshot import Moonshot
from extproc.providers.openai import OpenAI
from extproc.providers.protocols.bedrock import Bedrock
from extproc.providers.protocols.claude import Claude
from extproc.providers.protocols.gemini import Gemini
from extproc.providers.protocols.vertex import Vertex
from extproc.providers.qwen import Qwen
from extproc.providers.vendors import VENDOR_KEYS, Vendor

AnyProvider = Annotated[
    Qwen | OpenAI | Azure | Moonshot | Claude | Gemini | Vertex | Bedrock | Vendor, Field(discriminator="type")
]

__all__ = [
    "VENDOR_KEYS",
    "AnyProvider",
    "Azure",
    "Bedrock",
    "Claude",
    "Gemini",
    "Moonshot",
    "OpenAI",
    "Provider",
    "Qwen",
    "Vendor",
    "Vertex",
]
