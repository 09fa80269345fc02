"""One worker process: the gRPC server, the wire, the log line.

Rule: the only folder with gRPC and protobuf; decides nothing, reads no file: configuration comes over stdin.
"""
