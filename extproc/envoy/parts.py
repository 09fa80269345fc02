"""Small pieces that the bootstrap's files share."""

import ipaddress
import re
from typing import Final

from envoy_data_plane.envoy.config.core import v3 as core
from envoy_data_plane.envoy.type.matcher import v3 as matcher

from extproc.envoy.rendering import as_json, packed

__all__ = ["as_json", "is_ip", "packed", "regex", "socket_address", "string_match", "text_format", "watched_file"]

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


def text_format(text: str) -> core.SubstitutionFormatString:
    return core.SubstitutionFormatString(text_format_source=core.DataSource(inline_string=text))


def regex(pattern: str) -> matcher.StringMatcher:
    return matcher.StringMatcher(safe_regex=matcher.RegexMatcher(regex=pattern))


def string_match(pattern: str) -> matcher.StringMatcher:
    """A pattern of the configuration: exact, with `*` for any text, or `~` and an unanchored expression."""
    if pattern.startswith("~"):
        return regex(f"(?s).*(?:{pattern[1:]})(?s:.*)")
    if "*" not in pattern:
        return matcher.StringMatcher(exact=pattern)
    if pattern.index("*") == len(pattern) - 1 > 0:
        return matcher.StringMatcher(prefix=pattern[:-1])
    return regex("(?s)" + ".*".join(map(re.escape, pattern.split("*"))))


def socket_address(host: str, port: int) -> core.Address:
    return core.Address(socket_address=core.SocketAddress(address=host, port_value=port))


def is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
