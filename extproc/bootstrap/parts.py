"""Small pieces that the bootstrap's files share."""

import ipaddress
from typing import Final

from betterproto2 import Message
from envoy_data_plane.envoy.config.core import v3 as core
from envoy_data_plane.envoy.type.matcher import v3 as matcher
from envoy_data_plane.google import protobuf

LISTENERS_FILE: Final = "listeners.json"
ROUTES_FILE: Final = "routes.json"


def watched_file(directory: str, name: str) -> core.ConfigSource:
    """A file that is replaced by renaming another onto it."""
    return core.ConfigSource(
        path_config_source=core.PathConfigSource(
            path=f"{directory}/{name}", watched_directory=core.WatchedDirectory(path=directory)
        ),
        resource_api_version=core.ApiVersion.V3,
    )


def packed(message: Message) -> protobuf.Any:
    return protobuf.Any.pack(message)


def text_format(text: str) -> core.SubstitutionFormatString:
    return core.SubstitutionFormatString(text_format_source=core.DataSource(inline_string=text))


def regex(pattern: str) -> matcher.StringMatcher:
    return matcher.StringMatcher(safe_regex=matcher.RegexMatcher(regex=pattern))


def socket_address(host: str, port: int) -> core.Address:
    return core.Address(socket_address=core.SocketAddress(address=host, port_value=port))


def is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
