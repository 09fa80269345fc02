"""A Higress file as a native configuration, for people: YAML, and what must be known of it.

Rule: text only; what the file means is `load.take`'s.
"""

from io import StringIO

from ruamel.yaml import YAML

from extproc.load import Taken


def report(taken: Taken, source: str) -> list[str]:
    """What a user must know: keys to set, what was lost, what was noted. No key is in it."""
    lines = [
        f"set {name}: {_count(value.count(',') + 1)} that {source} holds{', separated by commas' * (',' in value)}"
        for name, value in taken.environ.items()
    ]
    lines += [f"not taken over: {problem}" for problem in taken.lost]
    return lines + [f"note: {note}" for note in taken.notes]


def _count(keys: int) -> str:
    return "the key" if keys == 1 else f"the {keys} keys"


def as_yaml(taken: Taken, source: str) -> str:
    """The native configuration, its report as comments before it."""
    yaml = YAML()
    yaml.width = 120
    yaml.indent(mapping=2, sequence=4, offset=2)
    out = StringIO()
    for line in (f"From {source}, by `extproc import`.", *report(taken, source)):
        out.write(f"# {line}\n")
    yaml.representer.add_representer(type(None), lambda r, _: r.represent_scalar("tag:yaml.org,2002:null", "null"))
    first = ("id", "type")
    providers = [
        {k: p[k] for k in (*first, *(k for k in p if k not in first)) if k in p} for p in taken.native["providers"]
    ]
    yaml.dump({**taken.native, "providers": providers}, out)
    return out.getvalue()
