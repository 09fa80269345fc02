"""Frozen data, of which an exchange makes a dozen.

Rule: what is made once per process is a dataclass. Here each counts: a frozen dataclass calls `object.__setattr__` for
every field and takes six times as long to make as a struct of msgspec, which is as frozen (Python 3.11, msgspec 0.22).
"""

from typing import ClassVar

import msgspec

replace = msgspec.structs.replace
"""A copy with other values."""


class Frozen(msgspec.Struct, frozen=True):
    """`hidden`: fields with bodies, headers or keys. They are not in its `repr`."""

    hidden: ClassVar[tuple[str, ...]] = ()

    def __repr__(self) -> str:
        shown = (f"{name}={getattr(self, name)!r}" for name in self.__struct_fields__ if name not in self.hidden)
        return f"{type(self).__name__}({', '.join(shown)})"
