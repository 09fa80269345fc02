"""ai-proxy for Envoy: an ext_proc sidecar that lets any OpenAI client use any model vendor.

Envoy stays the data plane (sockets, TLS, pools, timeouts, limits). For every HTTP exchange it opens one gRPC stream
to this package, which decides provider, key and model and translates bodies and stream chunks. In flow order:

    server      I/O   one gRPC stream per exchange
    wire        pure  protobuf ⇄ events and replies; the only file that touches messages
    exchange    pure  typed state (`states`) + event → reply; `answers` is its second half
    clients     pure  who may come in, and what for
    routing     pure  request → route, model
    providers/  pure  one vendor per file: configuration, paths, translator
    sse         pure  bytes → events → bytes, incremental
    bystander   pure  counts the tokens of an answer that goes past unchanged
    outgoing    pure  which headers leave, in either direction
    account     I/O   the log line

Around it: `frozen` (data that is made often), `config`, `blocks`, `patterns` (what a configuration means), `load`,
`placeholders`, `files`, `yamlfile`, `higress`, `environment` (where it comes from), `imports`, `naming` (a Higress
file in our words), `wording`, `advice`, `masking` (what is said of it),
`bootstrap/`, `envoy_process`, `xds`, `placement`, `agreed` (Envoy's side), `keys` (which key is used next),
`kept_keys`, `health`, `shared_keys` (what happens to keys beside the exchanges), `run`, `sidecar`, `supervisor`,
`places`, `worker`, `channel`, `listening`, `live`, `watch`, `contexts`, `admin`, `logs` (the processes) and `simulate`
(stand-in vendors, which share no code with the rest).
"""

from importlib.metadata import version

__version__ = version("ai-proxy-envoy")
