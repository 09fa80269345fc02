"""The names of the clusters that the routes of upstream placement go to. Pure text, no messages."""

from extproc.config.config import Chain, Step


def member_name(step: Step) -> str:
    """The cluster of a provider, or of a provider that is asked for one model whatever the client said."""
    return f"{step.provider}|{step.model}" if step.model else step.provider


def provider_of(name: str) -> str:
    """The provider of a cluster of one; of another cluster no provider's id."""
    return name.partition("|")[0]


def chain_name(chain: Chain) -> str:
    """The cluster of an order of providers: of one alone its own."""
    return " > ".join(map(member_name, chain))
