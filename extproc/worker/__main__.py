"""`python -m extproc.worker`: one worker process."""

from extproc.worker.process import run

run()
