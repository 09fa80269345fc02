"""One request's limits on a Redis or Valkey server: what is sent to it in one script, and what it answers.

Rule: pure: names, arguments and answers. All buckets that are a client's own, and what it holds of them, have one hash
tag, all others another, so that a script finds its keys on one node of a cluster. A reservation is known by its id:
whoever settles it again does nothing. One that nobody renews is a dead worker's, and stays used whole:
what it held at a time is free again.
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import Any, Final

from extproc.limits.authority import STEPS, Granted, Need, Verdict
from extproc.limits.buckets import Bucket, Spend
from extproc.limits.windows import PARTS, SLIDING, Now, slot, wait

KEPT: Final = {"second": 10, "minute": 180, "hour": 10_800, "day": 40 * 86_400, "month": 70 * 86_400}
"""Seconds until Redis forgets a bucket of which nothing more is used."""
HELD_MS: Final = 30_000
"""Milliseconds until a reservation that is not renewed counts as a dead worker's."""

_MINUS: Final = """
local function minus(n) return n == '0' and n or string.sub(n, 1, 1) == '-' and string.sub(n, 2) or '-' .. n end
"""
"""As text: a number of Lua's is a double. Redis does not take -0."""

_DEAD: Final = """
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, 50)) do
  local held = redis.call('HGET', KEYS[1], id)
  if held and string.sub(held, 1, 5) ~= 'dead ' then
    for key, at, more in string.gmatch(held, '(%S+) (%S+) %S+ (%S+);') do
      redis.call('HINCRBY', key, at, more)
    end
    redis.call('HSET', KEYS[1], id, 'dead ' .. held)
    redis.call('ZADD', KEYS[2], now + 3600000, id)
  else
    redis.call('HDEL', KEYS[1], id)
    redis.call('ZREM', KEYS[2], id)
  end
end
"""

RESERVE: Final = (
    _DEAD
    + """
local out, worst, held = {1}, nil, ''
for i = 3, #KEYS do
  local b = 2 + (i - 3) * 8
  local limit, free, window, at = tonumber(ARGV[b + 1]), ARGV[b + 4], tonumber(ARGV[b + 5]), ARGV[b + 6]
  local all, used, last, found = redis.call('HGETALL', KEYS[i]), 0, nil, {}
  local current = window > 0 and math.floor(now * 20 / window) or nil
  if current then at = string.format('%.0f', current) end
  for n = 1, #all, 2 do
    if all[n] ~= 'told' then
      local amount = tonumber(all[n + 1])
      if not current then
        if all[n] == at then used = used + amount end
      else
        local one = tonumber(all[n])
        if one < current - 20 then
          redis.call('HDEL', KEYS[i], all[n])
        else
          used = used + amount
          found[#found + 1] = {one, amount}
          if not last or one > last then last = one end
        end
      end
    end
  end
  if used >= limit and free == '0' then
    local pause, left = -1, used
    if current then
      table.sort(found, function(a, b) return a[1] < b[1] end)
      for _, one in ipairs(found) do
        left = left - one[2]
        if left < limit then pause = (one[1] + 1) * window / 20 + window - now; break end
      end
    end
    if not worst or pause < 0 or (worst[4] >= 0 and pause > worst[4]) then worst = {0, i - 3, used, pause} end
  end
  local reset = last and ((last + 1) * window / 20 + window - now) or -1
  local share, warn, told = used / limit, tonumber(ARGV[b + 8]), ''
  if share >= warn then
    local step = warn
    for _, one in ipairs({0.9, 0.95, 1}) do if one >= warn and share >= one then step = one end end
    local period = current and math.floor(now / 3600000) or at
    local was = redis.call('HGET', KEYS[i], 'told')
    local before, of = 0, ''
    if was then of, before = string.match(was, '(%S+) (%S+)') end
    if of ~= tostring(period) or step > tonumber(before) then
      redis.call('HSET', KEYS[i], 'told', tostring(period) .. ' ' .. tostring(step))
      told = tostring(share)
    end
  end
  out[#out + 1] = {at, string.format('%.0f', used), string.format('%.0f', reset), told}
end
if worst then
  return {0, worst[2], string.format('%.0f', worst[3]), string.format('%.0f', worst[4]), out}
end
for i = 3, #KEYS do
  local b = 2 + (i - 3) * 8
  local at = out[i - 1][1]
  redis.call('HINCRBY', KEYS[i], at, ARGV[b + 2])
  redis.call('PEXPIRE', KEYS[i], ARGV[b + 7])
  held = held .. KEYS[i] .. ' ' .. at .. ' ' .. ARGV[b + 2] .. ' ' .. ARGV[b + 3] .. ';'
end
redis.call('HSET', KEYS[1], ARGV[1], held)
redis.call('ZADD', KEYS[2], now + ARGV[2], ARGV[1])
redis.call('PEXPIRE', KEYS[1], 7200000)
redis.call('PEXPIRE', KEYS[2], 7200000)
return out
"""
)
"""KEYS: what is held, by when, the buckets. ARGV: id, milliseconds; for each bucket limit, amount, what is
added when its worker is dead, whether it refuses nothing, window in milliseconds (0: a calendar's), slot, life, when it
is told."""

SETTLE: Final = (
    _MINUS
    + """
local held = redis.call('HGET', KEYS[1], ARGV[1])
if not held then return 0 end
local i = 3
for more in string.gmatch(held, '%S+ %S+ %S+ (%S+);') do
  local b = 1 + (i - 3) * 2
  redis.call('HINCRBY', KEYS[i], ARGV[b + 1], ARGV[b + 2])
  if string.sub(held, 1, 5) == 'dead ' then
    redis.call('HINCRBY', KEYS[i], ARGV[b + 1], minus(more))
  end
  i = i + 1
end
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('ZREM', KEYS[2], ARGV[1])
return 1
"""
)
"""ARGV: id; for each bucket slot, and by how much less or more is used than was reserved."""

CANCEL: Final = (
    _MINUS
    + """
local held = redis.call('HGET', KEYS[1], ARGV[1])
if held and string.sub(held, 1, 5) ~= 'dead ' then
  for key, at, amount in string.gmatch(held, '(%S+) (%S+) (%S+) %S+;') do
    redis.call('HINCRBY', key, at, minus(amount))
  end
end
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('ZREM', KEYS[2], ARGV[1])
"""
)
"""ARGV: the id of what was perhaps reserved, and is not wanted."""

RENEW: Final = """
local t = redis.call('TIME')
local until_ = t[1] * 1000 + math.floor(t[2] / 1000) + ARGV[1]
for n = 2, #ARGV, 2 do
  local held = redis.call('HGET', KEYS[1], ARGV[n])
  if held and string.sub(held, 1, 5) ~= 'dead ' then
    redis.call('HSET', KEYS[1], ARGV[n], ARGV[n + 1])
    redis.call('ZADD', KEYS[2], until_, ARGV[n])
  end
end
redis.call('PEXPIRE', KEYS[1], 7200000)
redis.call('PEXPIRE', KEYS[2], 7200000)
"""
"""ARGV: milliseconds; for each reservation its id and what is held, as `RESERVE` writes it."""


def tag(bucket: Bucket) -> str:
    """What the names of all have in common that one script may need together."""
    client = bucket.whose.rpartition("client ")[2] if _is_own(bucket) else None
    return "all" if client is None else f"c-{sha256(client.encode()).hexdigest()[:16]}"


def _is_own(bucket: Bucket) -> bool:
    return bucket.whose.startswith("client ") or ", client " in bucket.whose


class Part:
    """What of one request has one hash tag. `slots`: set when it is reserved."""

    def __init__(self, prefix: str, id: str, needs: Sequence[Need]) -> None:
        self.id = id
        self.needs = needs
        base = f"{prefix}{{{tag(needs[0].bucket)}}}:"
        names = (sha256(need.bucket.name.encode()).hexdigest()[:24] for need in needs)
        self.keys = [f"{base}held", f"{base}until", *(f"{base}b:{name}" for name in names)]
        self.slots: list[str] = []

    def reserve(self, now: Now) -> list[str]:
        """The arguments of `RESERVE`."""
        sent: list[str | int | float] = [self.id, HELD_MS]
        for need in self.needs:
            bucket = need.bucket
            window = int(SLIDING.get(bucket.per or "", 0) * 1000)
            sent += [bucket.limit, need.amount, -need.amount if bucket.kind == "concurrent" else 0]
            sent += [int(need.forced or bucket.shadow), window, slot(bucket, now)]
            sent += [KEPT[bucket.per or "hour"] * 1000, bucket.warn_at]
        return [str(one) for one in sent]

    def verdict(self, answer: list[Any], now: Now) -> tuple[Verdict, list[tuple[Bucket, float]]]:
        """What `RESERVE` answered, and of which buckets it is to be told that little is left."""
        allowed, rows = int(answer[0]) == 1, answer[1:] if int(answer[0]) == 1 else answer[4][1:]
        told = [(n.bucket, float(r[3])) for n, r in zip(self.needs, rows, strict=False) if r[3]]
        if not allowed:
            bucket = self.needs[int(answer[1])].bucket
            pause = int(answer[3]) / 1000 if int(answer[3]) >= 0 else wait(bucket, {slot(bucket, now): 1}, 1, now)
            return Verdict(by=bucket, wait=pause, used=int(answer[2])), told
        self.slots = [_text(row[0]) for row in rows]
        granted = []
        for need, row in zip(self.needs, rows, strict=True):
            ends = int(row[2]) / 1000
            if ends < 0:
                ends = wait(need.bucket, {slot(need.bucket, now): 1}, 1, now) if need.bucket.per else 0.0
            granted.append(Granted(0, int(row[1]), ends))
        return Verdict(tuple(granted)), told

    def _actual(self, need: Need, spend: Spend | None) -> int:
        kind = need.bucket.kind
        if kind == "requests":
            return need.amount
        return 0 if kind == "concurrent" else need.known if spend is None else spend.of(kind)

    def settle(self, spend: Spend | None) -> list[str]:
        """The arguments of `SETTLE`."""
        sent: list[str] = [self.id]
        for need, at in zip(self.needs, self.slots, strict=True):
            sent += [at, str(self._actual(need, spend) - need.amount)]
        return sent

    def renew(self, spend: Spend | None) -> list[str]:
        """Two of the arguments of `RENEW`."""
        held = []
        for key, at, need in zip(self.keys[2:], self.slots, self.needs, strict=True):
            more = self._actual(need, spend) - need.amount
            held.append(f"{key} {at} {need.amount} {more if need.bucket.kind == 'concurrent' else max(more, 0)};")
        return [self.id, "".join(held)]


def parts(prefix: str, id: str, needs: Sequence[Need]) -> list[Part]:
    """A request's needs by their hash tags, a client's own first."""
    found: dict[str, list[Need]] = {}
    for need in needs:
        found.setdefault(tag(need.bucket), []).append(need)
    return [Part(prefix, id, found[name]) for name in sorted(found, reverse=True)]


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value


assert (PARTS, STEPS) == (20, (0.9, 0.95, 1.0)), "the script has them too"
