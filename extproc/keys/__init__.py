"""Which of a provider's keys is used next (`choice`, pure), and what happens to keys beside the exchanges.

Rule: no request waits here: state is decided in the process and told to others afterwards.
"""
