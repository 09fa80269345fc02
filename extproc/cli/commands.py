"""The command line. Rule: options in, exit code and words out; what a command does is in the module it calls.

Exit codes: 0 done, 1 it failed while running, 2 wrong use or wrong configuration.
"""

import asyncio
from functools import partial
import json
import os
from pathlib import Path
import sys
from typing import get_args

import click

from extproc import __version__
from extproc.cli import options, streams
from extproc.cli import usage as usages
from extproc.cli.options import ACCESS_LOG, FILE, AddressType, ModeType, PlaceType, shown
from extproc.config.config import Config, ConfigError, Problem
from extproc.config.load import StandIn, load
from extproc.envoy import process as envoy_process
from extproc.envoy.placement import LEAST_ENVOY, ControlPlane, Placement, attached_objection, idle_keys
from extproc.limits.authority import is_of
from extproc.supervisor import run
from extproc.supervisor.live import in_time
from extproc.supervisor.recycling import cores
from extproc.supervisor.run import Address
from extproc.worker import form, logs
from extproc.worker.loop import on_loop
from extproc.worker.places import Place, Tls, places


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message=f"%(prog)s, version %(version)s, codec {form.NAME}")
def cli() -> None:
    """Any OpenAI client talks to any model vendor, through Envoy."""


@cli.command()
@options.config_file
@shown(
    "--listen",
    type=PlaceType(listens=True),
    default="127.0.0.1:9000",
    help="Where Envoy reaches the first worker (gRPC); the others have the next ports, or PATH.1, PATH.2, …",
)
@shown("--socket-mode", type=ModeType(), default="600", help="Who may use a Unix socket, in octal.")
@click.option("--tls-cert", type=FILE, help="Certificate chain (PEM); with --tls-key and --tls-client-ca: mutual TLS.")
@click.option("--tls-key", type=FILE, help="Its key.")
@click.option("--tls-client-ca", type=FILE, help="Who signs Envoy's certificate; without one Envoy is refused.")
@options.admin
@options.metrics
@options.no_console
@options.workers
@options.stand_in
@click.option("--xds-dir", type=click.Path(path_type=Path), help="Keep what `extproc envoy --xds-dir` wrote fresh.")
@options.serving
def serve(
    path: Path | None,
    listen: Place,
    socket_mode: int,
    tls_cert: Path | None,
    tls_key: Path | None,
    tls_client_ca: Path | None,
    admin: Address,
    metrics: Address | None,
    no_console: bool,
    workers: int | None,
    stand_in: StandIn | None,
    xds_dir: Path | None,
    log_format: logs.Format,
    log_level: str,
    verbose: bool,
    grace: float,
) -> None:
    """The sidecar alone, for an Envoy that runs elsewhere."""
    logs.configure(log_format, log_level, verbose=verbose)
    tls = Tls(tls_cert, tls_key, tls_client_ca) if tls_cert and tls_key and tls_client_ca else None
    if tls is None and (tls_cert or tls_key or tls_client_ca):
        raise click.UsageError("--tls-cert, --tls-key and --tls-client-ca belong together")
    door = run.Door(listen, tls, socket_mode)
    logging = run.Logging(log_format, log_level, verbose)
    chosen = run.ServeOptions(door, admin, grace, workers, logging, xds_dir, not no_console, metrics)
    on_loop(lambda: run.serve(run.Source(path, os.environ, stand_in), chosen))


@cli.command("run")
@options.config_file
@options.address("--listen", "127.0.0.1:8080", "Where Envoy takes requests.")
@options.admin
@options.metrics
@options.no_console
@options.workers
@click.option("--simulate", is_flag=True, help="Simulated vendors stand in for every service without a key.")
@click.option("--demo", is_flag=True, help="Show one streamed chat once requests are routed.")
@click.option("--access-log", default="", help=f"{ACCESS_LOG}; none by default.")
@options.placement
@shown("--concurrency", type=click.IntRange(min=1), default=2, help="Envoy's worker threads.")
@options.serving
def run_command(
    path: Path | None,
    listen: Address,
    admin: Address,
    metrics: Address | None,
    no_console: bool,
    workers: int | None,
    simulate: bool,
    demo: bool,
    access_log: str,
    placement: Placement,
    concurrency: int,
    log_format: logs.Format,
    log_level: str,
    verbose: bool,
    grace: float,
) -> None:
    """The sidecar and a real Envoy, supervised: when one dies, all stop."""
    logs.configure(log_format, log_level, verbose=verbose)
    logging = run.Logging(log_format, log_level, verbose)
    log_file = access_log or None
    chosen = run.RunOptions(
        listen, admin, grace, workers, logging, demo, log_file, concurrency, placement, not no_console, metrics
    )
    on_loop(lambda: run.run(run.Source(path, os.environ), chosen, simulate=simulate))


@cli.command()
@options.config_file
@options.address("--listen", "0.0.0.0:8080", "Where Envoy takes requests.")
@options.address("--envoy-admin", "127.0.0.1:9901", "Envoy's own admin interface.")
@click.option(
    "--envoy-stats",
    type=AddressType(listens=True),
    help="Where Envoy answers /ready and /stats/prometheus, and nothing else; nowhere by default.",
)
@options.sidecar("127.0.0.1:9000", "HOST:PORT or unix:PATH")
@options.workers
@options.stand_in
@click.option(
    "--xds-dir",
    type=click.Path(path_type=Path, resolve_path=True),
    help="Write what changes into this directory, for Envoy to follow; by default everything is in the bootstrap.",
)
@click.option("--sidecar-tls-ca", help="Who signs the sidecar's certificate (PEM file on Envoy's machine).")
@click.option("--sidecar-tls-cert", help="Envoy's own certificate.")
@click.option("--sidecar-tls-key", help="Its key.")
@click.option("--sidecar-tls-name", help="The name in the sidecar's certificate; by default the host of --sidecar.")
@click.option(
    "--sidecar-tls-secrets",
    help="Directory for two files that tell Envoy to watch these three. The bootstrap names it: Envoy needs it there.",
)
@options.placement
@shown("--access-log", default="/dev/stdout", help=f"{ACCESS_LOG}; empty for none.")
@click.option("--ca-file", help="The CA bundle on Envoy's machine; by default this machine's.")
@shown("--format", "kind", type=click.Choice(["yaml", "json"]), default="yaml")
@click.option("--no-validate", is_flag=True, help="Do not let an Envoy of this machine check it first.")
def envoy(
    path: Path | None,
    listen: Address,
    envoy_admin: Address,
    envoy_stats: Address | None,
    sidecar: tuple[Place, ...],
    workers: int | None,
    stand_in: StandIn | None,
    xds_dir: Path | None,
    sidecar_tls_ca: str | None,
    sidecar_tls_cert: str | None,
    sidecar_tls_key: str | None,
    sidecar_tls_name: str | None,
    sidecar_tls_secrets: str | None,
    placement: Placement,
    access_log: str,
    ca_file: str | None,
    kind: str,
    no_validate: bool,
) -> None:
    """Print the Envoy bootstrap for a configuration, checked by `envoy --mode validate` where there is an Envoy."""
    from extproc.envoy import bootstrap  # slow to import
    from extproc.envoy import directory as xds

    loaded = in_time(path, partial(load, path, os.environ, stand_in=stand_in, keyless=path is not None))
    run.check_placement(placement, LEAST_ENVOY, loaded)  # this machine's Envoy is not the one that will serve
    count = workers or loaded.config.workers or cores()
    tls = None
    files = (sidecar_tls_ca, sidecar_tls_cert, sidecar_tls_key, sidecar_tls_secrets)
    if any(files) or sidecar_tls_name:
        names = (sidecar_tls_name,) if sidecar_tls_name else tuple(s.host for s in sidecar if isinstance(s, Address))
        if not all(files) or not names:
            wanted = "--sidecar-tls-ca, --sidecar-tls-cert, --sidecar-tls-key and --sidecar-tls-secrets"
            raise click.UsageError(f"{wanted} belong together, with --sidecar-tls-name where --sidecar is unix:")
        ca, certificate, key, secrets = (str(Path(file or "").absolute()) for file in files)
        tls = bootstrap.SidecarTls(ca, certificate, key, names, secrets)
        Path(secrets).mkdir(parents=True, exist_ok=True)
        for name, text in bootstrap.secrets(tls).items():
            Path(secrets, name).write_text(text)
    chosen = bootstrap.Options(
        host=listen.host,
        port=listen.port,
        admin_host=envoy_admin.host,
        admin_port=envoy_admin.port,
        stats_host=envoy_stats.host if envoy_stats else "127.0.0.1",
        stats_port=envoy_stats.port if envoy_stats else 0,
        sidecars=_sidecars(sidecar, count),
        sidecar_tls=tls,
        access_log=access_log or None,
        placement=placement,
        ca_file=ca_file or run.system_ca_file(bootstrap.SYSTEM_CA_FILES),
        xds_directory=None if xds_dir is None else str(xds_dir),
    )
    if not no_validate:
        _validate(bootstrap.bootstrap(loaded.config, bootstrap.static(chosen)))
    if xds_dir is not None:
        xds.created(xds_dir, chosen, loaded)
    text = bootstrap.bootstrap(loaded.config, chosen)
    click.echo(bootstrap.as_yaml(text) if kind == "yaml" else text, nl=False)


@cli.command()
@click.argument("plane", type=click.Choice(get_args(ControlPlane)), metavar="GATEWAY")
@options.config_file
@options.sidecar("ai-proxy.ai-proxy.svc.cluster.local:9000", "HOST:PORT")
@options.workers
@click.option("--namespace", help="Where the gateway is; by default where its own installation has it.")
@click.option("--gateway", help="Which gateway: a label of its pods, KEY=VALUE; for envoy-gateway the Gateway's name.")
@click.option(
    "--route", "routes", multiple=True, help="A route to a vendor, as `ingress` names it; by default every such name."
)
@click.option(
    "--rate-limit-service", "limiter", type=options.AddressType(listens=False),
    help="Envoy's rate limit service, which is charged for tokens; not for envoy-gateway, which has it itself.",
)  # fmt: skip
def attach(
    plane: ControlPlane,
    path: Path | None,
    sidecar: tuple[Place, ...],
    workers: int | None,
    namespace: str | None,
    gateway: str | None,
    routes: tuple[str, ...],
    limiter: Address | None,
) -> None:
    """Print what puts the sidecar into a gateway that you have: envoy, istio, higress or envoy-gateway."""
    from extproc.envoy import attachments, objections  # slow to import
    from extproc.envoy.bootstrap import Options  # slow to import

    loaded = in_time(path, partial(load, path, os.environ, keyless=path is not None))
    if (problem := attached_objection(loaded.config)) is not None:
        raise ConfigError([Problem(loaded.source, 0, "", problem)])
    for provider, keys in idle_keys(loaded.config).items():
        click.echo(f"{provider}: {', '.join(keys)} is the gateway's own to do, and does nothing here", err=True)
    home, label = attachments.GATEWAYS[plane]
    if limiter and plane == "envoy-gateway":
        raise click.UsageError(
            "--rate-limit-service: for Envoy Gateway it is a BackendTrafficPolicy, see docs/usage.md"
        )
    named = routes or attachments.ingresses(loaded.config)
    there = attachments.Gateway(namespace or home, gateway or label, named, str(limiter) if limiter else None)
    where = _sidecars(sidecar, workers or loaded.config.workers or 1)
    if wrong := list(objections.objections(plane, loaded, there, where)):
        raise ConfigError(wrong)
    documents = attachments.attachment(plane, loaded.config, Options(sidecars=where), there)
    click.echo(attachments.as_yaml(documents), nl=False)


def _sidecars(said: tuple[Place, ...], count: int) -> tuple[str, ...]:
    """Where the workers are: as said, or beside the first."""
    return tuple(map(str, places(said[0], count) if len(said) == 1 else said))


def _validate(bootstrap: str) -> None:
    try:
        envoy_process.find_envoy()
    except run.EnvoyError as error:
        click.echo(f"not validated: {error}", err=True)
        return
    try:
        envoy_process.validate_text(bootstrap)
    except run.EnvoyError as error:
        raise run.EnvoyError(f"{error}\n(if it names paths of another machine: --no-validate)") from None


@cli.command()
@click.argument("file", type=click.Path(path_type=Path), metavar="[FILE]", required=False)
@options.config_file
@click.option(
    "--connect", is_flag=True, help="Try each vendor's name, connection and certificate too; exit 1 where one fails."
)
def check(file: Path | None, path: Path | None, connect: bool) -> None:
    """Print what was understood of a configuration: FILE, or that of --config."""
    from extproc.config.describe import describe

    if file and path:
        raise click.UsageError("FILE and --config are the same thing: give one of them")
    loaded = in_time(file or path, partial(load, file or path, os.environ))
    click.echo(describe(loaded), nl=False)
    if connect:
        _connect(loaded.config)


def _connect(config: Config) -> None:
    from extproc.envoy.bootstrap import SYSTEM_CA_FILES  # slow to import
    from extproc.supervisor import reach

    click.echo()
    vendors = asyncio.run(reach.found(config.providers, run.system_ca_file(SYSTEM_CA_FILES)))
    for vendor in vendors:
        click.echo(vendor)
    if any(vendor.reason for vendor in vendors):
        sys.exit(1)


@cli.command()
@click.argument("model", required=False)
@options.config_file
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def prices(model: str | None, path: Path | None, as_json: bool) -> None:
    """Print what providers take for MODEL, by the vendor's name, or for all that are named, and who says so."""
    from extproc.config.prices_shown import rows, table

    found = rows(load(path, os.environ, keyless=True).config, model)
    if model is not None and not found:
        raise click.ClickException(f"no provider's price of {model} is known")
    click.echo(json.dumps(found, indent=2) if as_json else table(found))


@cli.command("import")
@click.argument("path", type=FILE, metavar="FILE")
@click.option("--keep-keys", is_flag=True, help="Leave vendors' keys in it, instead of ${NAME}s for the environment.")
def import_command(path: Path, keep_keys: bool) -> None:
    """Print a Higress WasmPlugin file, or LiteLLM's config.yaml, as this project's configuration; what is lost is said,
    and makes the exit 1."""
    from extproc.imports import report as imports

    taken = in_time(path, partial(imports.take, path, os.environ, keep_keys=keep_keys))
    if not taken.wrong:
        click.echo(imports.as_yaml(taken), nl=False)
    for line in imports.report(taken):
        click.echo(line, err=True)
    if taken.wrong or taken.lost:
        sys.exit(2 if taken.wrong else 1)


@cli.command("usage")
@options.admin_at
@click.option("--client", help="Of this client alone.")
@click.option("--model", help="Of this model alone.")
@click.option("--provider", help="Of this provider alone.")
@click.option("--route", help="Of this route alone.")
@click.option(
    "--by",
    multiple=True,
    type=click.Choice(["time", "client", "model", "provider", "route"]),
    help="What is told apart; several times for several. By default clients and models.",
)
@shown("--since", type=usages.Since(), default="24h", help="From when on.")
@click.option("--json", "as_json", is_flag=True, help="JSON instead of a table.")
def usage(
    admin: Address,
    client: str | None,
    model: str | None,
    provider: str | None,
    route: str | None,
    by: tuple[str, ...],
    since: float,
    as_json: bool,
) -> None:
    """Print what was used, as the running gateway knows it: tokens and money by client and model."""
    by = by or ("client", "model")
    wanted = {"client": client, "model": model, "provider": provider, "route": route}
    found = usages.asked(admin, "/usage", since=since, by=",".join(by), **wanted)
    click.echo(json.dumps(found, indent=2, ensure_ascii=False) if as_json else usages.used(found["rows"], by))


@cli.group()
def limits() -> None:
    """What is left of the limits of use."""


@limits.command()
@click.argument("client", required=False)
@options.admin_at
@click.option("--json", "as_json", is_flag=True, help="JSON instead of a table.")
def show(client: str | None, admin: Address, as_json: bool) -> None:
    """Print every limit of which something is used, or those of CLIENT."""
    found = usages.asked(admin, "/limits")
    if client is not None:
        found["limits"] = [one for one in found["limits"] if is_of(one["whose"], client)]
    click.echo(json.dumps(found, indent=2, ensure_ascii=False) if as_json else usages.left(found["limits"]))
    if found["trouble"] and not as_json:
        click.echo(f"nothing can be written down now: {found['trouble']}", err=True)


@limits.command()
@click.argument("client")
@options.admin_at
@click.option("--json", "as_json", is_flag=True, help="JSON instead of lines.")
def reset(client: str, admin: Address, as_json: bool) -> None:
    """Forget what CLIENT used of its limits. What is told of its use stays."""
    found = usages.asked(admin, "/limits/reset", {"client": client})
    click.echo(
        json.dumps(found, indent=2, ensure_ascii=False)
        if as_json
        else "\n".join(found["reset"] or ["nothing was used"])
    )


@cli.command()
def schema() -> None:
    """Print the JSON schema of a configuration file, for editors."""
    from extproc.config.describe import schema

    click.echo(json.dumps(schema(), indent=2, ensure_ascii=False))


@cli.command()
@options.address("--listen", "127.0.0.1:9100", "Where the vendors are simulated.")
@shown("--latency", type=click.FloatRange(min=0), default=0.0, help="Seconds before an answer.")
@shown("--interval", type=click.FloatRange(min=0), default=0.03, help="Seconds between chunks.")
@click.option("--chunk-size", type=click.IntRange(min=1), help="Cut answers into writes of so many bytes.")
@click.option("--strict-host", is_flag=True, help="Refuse requests under another Host than the vendor's.")
def simulate(listen: Address, latency: float, interval: float, chunk_size: int | None, strict_host: bool) -> None:
    """Simulated vendors: DashScope, OpenAI, Azure OpenAI and Moonshot on one port."""
    try:
        from extproc.simulate import Options, serve
    except ModuleNotFoundError as error:
        raise click.ClickException(f"{error.name} is missing: pip install 'ai-proxy-envoy[simulate]'") from None

    def ready(port: int) -> None:
        click.echo(f"http://{Address(listen.host, port)}")
        sys.stdout.flush()

    run.check_free(listen)
    chosen = Options(latency=latency, interval=interval, chunk_size=chunk_size, strict_host=strict_host)
    on_loop(lambda: run.until_stopped(serve(listen.host, listen.port, chosen, ready)))


def main() -> None:
    """The entry point of `extproc`."""
    if closed := streams.filled():
        message = f"extproc: {' and '.join(closed)} closed at start: {os.devnull} stands in"
        click.echo(message, err="stderr" not in closed)
    try:
        cli.main(standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except ConfigError as error:
        click.echo(str(error), err=True)
        sys.exit(2)
    except (run.PartDied, run.EnvoyError, run.WorkerFailed, OSError) as error:
        click.echo(f"extproc: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
