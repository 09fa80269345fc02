"""The names of the clusters that the routes of upstream placement go to. Pure text, no messages."""

from extproc.config.config import Chain, Step


def member_name(step: Step) -> str:
    """The cluster of a provider, or of a provider that is asked for one model whatever the client said."""
    return f"{step.provider}|{step.model}" if step.model else step.provider


def chain_name(chain: Chain) -> str:
    """The cluster of an order of providers: of one alone its own."""
    return " > ".join(map(member_name, chain))
