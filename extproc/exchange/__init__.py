"""One HTTP exchange: typed state + event → reply. The pure core.

Rule: no clock, no chance, no I/O: the shell passes `Moment` in. Every failure ends in a reply.
"""
