-- The sliding window of pulse_domain.traffic.lane, where every process sees it. Instants are microseconds of
-- this server's clock, so that the clocks of the processes do not matter.
--
-- KEYS: calls (sorted set: token -> instant), lane (hash), waiting (hash: ticket -> "rank:since:due:want"),
--       workers (sorted set: worker -> last seen)
-- ARGV: operation, worker, length of a second, length of a minute, instant (0: this server's), then by operation
--       ask: ticket, rank, count, per second, per minute, per day, spacing, how many at once where spaced
--       leave: ticket, token...    give_back: token...
--       seed: calls of the last minute, calls of the day, calls just made elsewhere, whether counts were lost, how
--       long it is quiet then
--       view: nothing
-- Returns: granted, wait, seeded, calls in the second, in the minute, of the day, waiting, workers
local calls, lane, waiting, workers = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local operation, worker = ARGV[1], ARGV[2]
local second, minute, now = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local REASK, LATE, STALE = 1000000, 50000, 2000000
local WORKER_GONE, PAUSE_MIN, TICK = 15000000, 1000, 20000
local INDIA, DAY = 19800000000, 86400000000
if now == 0 then
  local time = redis.call('TIME')
  now = time[1] * 1000000 + time[2]
end

local function whole(number) return string.format('%.0f', number) end

-- A clock that was set back leaves calls in the future: they count from now, else they would count for long.
for _, token in ipairs(redis.call('ZRANGEBYSCORE', calls, '(' .. whole(now), '+inf')) do
  redis.call('ZADD', calls, whole(now), token)
end
redis.call('ZREMRANGEBYSCORE', calls, '-inf', whole(now - minute))
redis.call('ZADD', workers, whole(now), worker)
redis.call('ZREMRANGEBYSCORE', workers, '-inf', whole(now - WORKER_GONE))

local fields = redis.call('HMGET', lane, 'day', 'day_used', 'spaced_until', 'quiet_until', 'seeded')
local day_used, seeded = tonumber(fields[2] or 0), fields[5]
local spaced_until, quiet_until = tonumber(fields[3] or 0), tonumber(fields[4] or 0)
-- Longer than either ever lasts: the clock was set back.
if quiet_until > now + minute then quiet_until = 0 end
if spaced_until > now + 2 * second then spaced_until = 0 end
local day = math.floor((now + INDIA) / DAY)
if tonumber(fields[1] or -1) ~= day then
  day_used = 0
  redis.call('HSET', lane, 'day', day, 'day_used', 0)
end

local function give_back(first)
  for index = first, #ARGV do
    if redis.call('ZREM', calls, ARGV[index]) == 1 and day_used > 0 then
      day_used = redis.call('HINCRBY', lane, 'day_used', -1)
    end
  end
end

local waiters, others, cancels, queued = {}, 0, 0, false
local flat = redis.call('HGETALL', waiting)
for index = 1, #flat, 2 do
  local rank, since, due, want = string.match(flat[index + 1], '(%d+):(%d+):(%d+):(%d+)')
  due = tonumber(due)
  if due < now - STALE or due > now + REASK + STALE then
    redis.call('HDEL', waiting, flat[index])
  else
    waiters[flat[index]] = {tonumber(rank), tonumber(since), tonumber(want), due}
    others = others + 1
    if rank == '0' then cancels = cancels + 1 else queued = true end
  end
end

local granted, wait = 0, 0

local function until_free(used, limit, need, length, from)
  local over = used - (limit - need)
  if over <= 0 then return 0 end
  if over > used then return length end
  local one = redis.call('ZRANGEBYSCORE', calls, from, '+inf', 'WITHSCORES', 'LIMIT', over - 1, 1)
  return tonumber(one[2]) + length - now
end

if operation == 'leave' then
  if waiters[ARGV[6]] then
    redis.call('HDEL', waiting, ARGV[6])
    others = others - 1
  end
  give_back(7)
elseif operation == 'give_back' then
  give_back(6)
elseif operation == 'seed' then
  local in_minute, of_day, recent = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
  for number = 1, in_minute - redis.call('ZCARD', calls) do
    redis.call('ZADD', calls, whole(now - second), 'seed:' .. worker .. ':' .. whole(now) .. ':' .. number)
  end
  for number = 1, recent do
    redis.call('ZADD', calls, whole(now), 'own:' .. worker .. ':' .. whole(now) .. ':' .. number)
  end
  day_used = math.max(day_used, of_day)
  -- After a loss others may go on alone for a moment before they notice that we are back.
  if not seeded and (of_day > 0 or ARGV[9] == '1') then quiet_until = now + tonumber(ARGV[10]) end
  seeded = '1'
  redis.call('HSET', lane, 'day_used', day_used, 'quiet_until', whole(quiet_until), 'seeded', 1)
elseif operation == 'ask' and seeded then
  local ticket, rank, count = ARGV[6], tonumber(ARGV[7]), tonumber(ARGV[8])
  local per_second, per_minute = tonumber(ARGV[9]), tonumber(ARGV[10])
  local per_day, spacing = tonumber(ARGV[11]), tonumber(ARGV[12])
  local mine, since, ahead, first = waiters[ticket], now, 0, false
  if mine then since = mine[2] end
  for name, other in pairs(waiters) do
    if name ~= ticket and (other[1] < rank or (other[1] == rank
        and (other[2] < since or (other[2] == since and name < ticket)))) then
      ahead = ahead + (other[1] == 0 and other[3] or 1)
      if other[1] > 0 and other[4] + LATE >= now then first = true end
    end
  end
  local from = '(' .. whole(now - second)
  local in_second, in_minute = redis.call('ZCOUNT', calls, from, '+inf'), redis.call('ZCARD', calls)
  local free = math.min(per_second - in_second, per_minute - in_minute, per_day - day_used)
  local newest = redis.call('ZREVRANGE', calls, 0, 0, 'WITHSCORES')
  local last = newest[2] and tonumber(newest[2])
  local spaced = rank > 0 and last and (queued or now < spaced_until)
  if spaced then free = math.min(free, math.floor((now - last) / spacing)) end
  local blocked, behind = spaced and first, rank > 0 and cancels > 0
  if blocked or behind or (rank > 0 and now < quiet_until) then free = math.min(free, 0) end
  granted = math.max(0, math.min(count, free - ahead, spaced and tonumber(ARGV[13]) or count))
  if granted > 0 then
    if mine then
      redis.call('HDEL', waiting, ticket)
      others = others - 1
    end
    for number = 0, granted - 1 do redis.call('ZADD', calls, whole(now), ticket .. ':' .. number) end
    day_used = redis.call('HINCRBY', lane, 'day_used', granted)
    if spaced then redis.call('HSET', lane, 'spaced_until', whole(now + 2 * spacing)) end
  else
    local need = ahead + 1
    wait = math.max(behind and TICK or PAUSE_MIN, until_free(in_second, per_second, need, second, from),
                    until_free(in_minute, per_minute, need, minute, '-inf'))
    if per_day - day_used < need then wait = math.max(wait, DAY - (now + INDIA) % DAY) end
    if rank > 0 then
      wait = math.max(wait, quiet_until - now, blocked and ahead * spacing or 0)
      if last then wait = math.max(wait, last + need * spacing - now) end
    end
    local due = now + math.min(wait, REASK)
    redis.call('HSET', waiting, ticket, table.concat({rank, whole(since), whole(due), count}, ':'))
    if not mine then others = others + 1 end
  end
end

-- Longer than they can matter. A lane that is gone is seeded anew.
redis.call('PEXPIRE', calls, math.ceil(minute / 500))
redis.call('PEXPIRE', workers, WORKER_GONE / 1000)
redis.call('PEXPIRE', waiting, 2 * (REASK + STALE) / 1000)
redis.call('PEXPIRE', lane, 2 * DAY / 1000)
return {granted, wait, seeded and 1 or 0, redis.call('ZCOUNT', calls, '(' .. whole(now - second), '+inf'),
        redis.call('ZCARD', calls), day_used, others, redis.call('ZCARD', workers)}
