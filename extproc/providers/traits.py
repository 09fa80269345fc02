"""What differs between vendors in a chat request. Rule: facts about vendors, as data, for fronts to read by."""

from extproc.terms.frozen import Frozen


class Traits(Frozen, frozen=True):
    """The least that every vendor takes is the default.

    `files`: parts of type `file`. `cache_control`: it honours such members.
    """

    files: bool = False
    cache_control: bool = False
