"""ai-proxy for Envoy: an ext_proc sidecar that lets any OpenAI client use any model vendor.

Envoy stays the data plane (sockets, TLS, pools, timeouts, limits). For every HTTP exchange it opens one gRPC stream
to this package, which decides provider, key and model and translates bodies and stream chunks.

Folders are floors; each imports only what stands below it (`make check` holds that). From the top down:

    cli         commands and options
    supervisor  the processes: start, watch, change, replace, admin
    worker      the gRPC server of one process, the wire, the log line
    envoy       Envoy's side: bootstrap, resources, process
    exchange    the pure core: typed state + event → reply
    keys        which key is used next, and what happens to keys beside
    imports     another gateway's file in our words
    config      a file or the environment → frozen models
    providers   one vendor per file: configuration, paths, translator
    terms       the vocabulary: call, events, errors, names shared with Envoy
    text        JSON, SSE, compression, patterns

Beside them stands `simulate`: stand-in vendors, which share no code with the rest.
"""

from importlib.metadata import version

__version__ = version("ai-proxy-envoy")
