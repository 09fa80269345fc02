"""The question at the door that Envoy answers itself: is a key that the request shows one of a client's?

Rule: this only spares a question. Whoever is not known here is asked about at the door, by the sidecar, which refuses;
whoever is known shows its key to the sidecar all the same in the vendor's cluster, before anything is sent. So what
goes wrong here costs a stream, and lets nobody in. Envoy has the beginnings of SHA-256 sums, and no key.
"""

from typing import Final

from betterproto2 import Message
from envoy_data_plane.envoy.config.core import v3 as core
from envoy_data_plane.envoy.extensions.common.matching import v3 as matching
from envoy_data_plane.envoy.extensions.filters.http.lua import v3 as lua
from envoy_data_plane.envoy.type.matcher import v3 as matcher

from extproc.config.config import Config
from extproc.envoy.parts import packed
from extproc.envoy.unless import unless

KNOWN_FILTER: Final = "ai_proxy.known"
_SPACE: Final = "ai_proxy_door"
_KNOWN: Final = "known"
_BYTES: Final = 8
"""Of a sum that Envoy is told: nobody finds another key that begins so."""


def known_keys() -> lua.Lua:
    """In front of the door: notes in the request's metadata that its key is one of those that the routes name."""
    return lua.Lua()


def keys_of(config: Config) -> lua.LuaPerRoute:
    """What the routes say of it: not the listener, whose change would end connections. Within the script, since Envoy
    1.40 takes 0.15 ms a request for a `filter_context` with a thousand of them."""
    sums = " ".join(digest[:_BYTES].hex() for digest, _ in config.client_keys)
    return lua.LuaPerRoute(source_code=core.DataSource(inline_string=f'local SUMS = "{sums}"\n{_SCRIPT}'))


def unless_known(filter_config: Message) -> matching.ExtensionWithMatcher:
    """A filter that requests with a known key go past."""
    return unless(_SPACE, _KNOWN, matcher.ValueMatcher(bool_match=True), packed(filter_config))


_SCRIPT: Final = (
    f"""
local SPACE, NAME, BYTES = "{_SPACE}", "{_KNOWN}", {_BYTES}
"""
    + r"""
local KNOWN = {}
for digest in SUMS:gmatch("%x+") do KNOWN[digest] = true end

local band, bnot, bxor = bit.band, bit.bnot, bit.bxor
local ror, rshift, tobit, tohex = bit.ror, bit.rshift, bit.tobit, bit.tohex
local byte, char, floor = string.byte, string.char, math.floor
local LONGEST = 280 -- characters of a header that are worth a look; the sidecar reads longer ones

-- SHA-256 (FIPS 180-4): constants are the fractions of roots of the first primes.
local function fraction(root)
  return tobit(floor((root - floor(root)) * 4294967296))
end
local K, START, found, n = {}, {}, 0, 2
while found < 64 do
  local prime = true
  for d = 2, floor(n ^ 0.5) do
    if n % d == 0 then prime = false end
  end
  if prime then
    found = found + 1
    K[found] = fraction(n ^ (1 / 3))
    if found <= 8 then START[found] = fraction(n ^ 0.5) end
  end
  n = n + 1
end

local W = {}
local function sum(text)
  local bits = #text * 8
  text = text .. "\128" .. ("\0"):rep((55 - #text) % 64) .. "\0\0\0\0" ..
    char(rshift(bits, 24), band(rshift(bits, 16), 255), band(rshift(bits, 8), 255), band(bits, 255))
  local h1, h2, h3, h4, h5, h6, h7, h8 = unpack(START)
  for at = 1, #text, 64 do
    for i = 1, 16 do
      local a, b, c, d = byte(text, at + i * 4 - 4, at + i * 4 - 1)
      W[i] = tobit(((a * 256 + b) * 256 + c) * 256 + d)
    end
    for i = 17, 64 do
      local x, y = W[i - 15], W[i - 2]
      W[i] = tobit(W[i - 16] + bxor(ror(x, 7), ror(x, 18), rshift(x, 3)) + W[i - 7] +
        bxor(ror(y, 17), ror(y, 19), rshift(y, 10)))
    end
    local a, b, c, d, e, f, g, h = h1, h2, h3, h4, h5, h6, h7, h8
    for i = 1, 64 do
      local one = h + bxor(ror(e, 6), ror(e, 11), ror(e, 25)) + bxor(band(e, f), band(bnot(e), g)) + K[i] + W[i]
      local two = bxor(ror(a, 2), ror(a, 13), ror(a, 22)) + bxor(band(a, b), band(a, c), band(b, c))
      h, g, f, e, d, c, b, a = g, f, e, tobit(d + one), c, b, a, tobit(one + two)
    end
    h1, h2, h3, h4 = tobit(h1 + a), tobit(h2 + b), tobit(h3 + c), tobit(h4 + d)
    h5, h6, h7, h8 = tobit(h5 + e), tobit(h6 + f), tobit(h7 + g), tobit(h8 + h)
  end
  return (tohex(h1) .. tohex(h2) .. tohex(h3) .. tohex(h4)):sub(1, BYTES * 2)
end

local function shown(headers, name)
  local value = headers:get(name)
  return value and #value <= LONGEST and value:match("^%s*(.-)%s*$") or ""
end

local function is_known(key)
  return key ~= "" and KNOWN[sum(key)] == true
end

function envoy_on_request(handle)
  local headers = handle:headers()
  local scheme, bearer = shown(headers, "authorization"):match("^(%S+) +(.*)$")
  if (scheme and scheme:lower() == "bearer" and is_known(bearer))
    or is_known(shown(headers, "x-api-key")) or is_known(shown(headers, "api-key")) then
    handle:streamInfo():dynamicMetadata():set(SPACE, NAME, true)
  end
end
"""
)
