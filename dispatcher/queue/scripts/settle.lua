-- Settle entries of one work stream: acknowledge, delete, and record what became of them; each at most once.
--
-- KEYS  1 work stream   2 the caller's lease   3 outcomes   4 delayed   5 delayed jobs   6 dead   7 pauses   8 control
--       (campaign and dedup keys of the same slot stand in the effects)
-- ARGV  1 group   2 consumer   3 lease epoch under which the entries were read   4 n
--       5 .. 4+n        entry ids
--       5+n             their outcomes as one JSON array, or '' if there are none
--       6+n             bytes of each entry's part of it (0: none), joined by commas; '': one object each
--       7+n             optional, msgpack: {{i, accepted, delayed, dead, campaign, dedup}, ...}; an entry that
--                       is not in it was accepted and has no further effect
--         delayed   {{member, due ms, place of its fields, target or nil, interval ms, pause end ms}, ...}; with
--                   interval -1 the target is the name of an operator's stop
--         dead      {{first place, last place of its fields}, ...}
--         campaign  nil or {key, {counter = n, ...}}
--         dedup     nil or {key, origin id}
--       8+n ..          what the places point at, from 1 (Redis's msgpack knows no binary strings)
-- Returns {live, late, TIME seconds, TIME microseconds, {stale ids}}
--
-- The first write is XACK: at maxmemory Redis lets a script go on that began with a write that cannot grow
-- memory, so a full Redis drains. XACK does not look at the owner; that is why ownership is checked apart.

local stream, group, me, n = KEYS[1], ARGV[1], ARGV[2], tonumber(ARGV[4])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local effects, effect_of, places = {}, {}, 7 + n
if ARGV[7 + n] then
  effects = cmsgpack.unpack(ARGV[7 + n])
  for _, effect in ipairs(effects) do
    effect_of[effect[1]] = effect
  end
end

-- The objects of a fragment ({...},{...}); nil if it is no JSON. Strings are skipped with their escapes, so that braces
-- inside a producer's own JSON or text are not taken for ours.
local function objects(fragment)
  local out, depth, start, at = {}, 0, 1, 1
  while true do
    local found = string.find(fragment, '[{}"]', at)
    if not found then
      break
    end
    local sign = string.byte(fragment, found)
    at = found + 1
    if sign == 34 then -- "
      while true do
        local quote = string.find(fragment, '["\\]', at)
        if not quote then
          return nil
        end
        if string.byte(fragment, quote) == 34 then
          at = quote + 1
          break
        end
        at = quote + 2
      end
    elseif sign == 123 then -- {
      if depth == 0 then
        start = found
      end
      depth = depth + 1
    else
      depth = depth - 1
      if depth == 0 then
        out[#out + 1] = string.sub(fragment, start, found)
      end
    end
  end
  return out
end

-- Splices "possible_duplicate":true into each object of a fragment that does not have it.
local function mark(fragment)
  local out = objects(fragment)
  if not out then
    return fragment
  end
  for i, object in ipairs(out) do
    if not string.find(object, '"possible_duplicate":true', 1, true) then
      out[i] = '{"possible_duplicate":true,' .. string.sub(object, 2)
    end
  end
  return table.concat(out, ',')
end

-- Each entry's part of the outcomes.
local function split(outcomes, lengths)
  if lengths == '' then
    return objects(outcomes) or {}
  end
  local out, at = {}, 2
  for length in string.gmatch(lengths, '%d+') do
    length = tonumber(length)
    out[#out + 1] = string.sub(outcomes, at, at + length - 1)
    if length > 0 then
      at = at + length + 1
    end
  end
  return out
end

-- Whatever may fail must fail before the first write: a key of another type would lose what is settled here.
redis.call('XLEN', KEYS[3])
redis.call('ZCARD', KEYS[4])
redis.call('HLEN', KEYS[5])
redis.call('XLEN', KEYS[6])
redis.call('ZCARD', KEYS[7])
redis.call('HLEN', KEYS[8])
for _, effect in ipairs(effects) do
  if effect[5] then
    redis.call('HLEN', effect[5][1])
  end
  if effect[6] then
    redis.call('STRLEN', effect[6][1])
  end
end

-- Which entries are ours to settle, and are still there: all of them, nearly always.
local gone, late, late_count, stale = nil, {}, 0, {}
if redis.call('GET', KEYS[2]) == ARGV[3] then
  if redis.call('XACK', stream, group, unpack(ARGV, 5, 4 + n)) == n then
    redis.call('XDEL', stream, unpack(ARGV, 5, 4 + n))
  else
    -- Settled entries are always deleted: whoever deletes an entry is the one who settles it.
    gone = {}
    for i = 1, n do
      if redis.call('XDEL', stream, ARGV[4 + i]) == 0 then
        gone[i] = true
        stale[#stale + 1] = ARGV[4 + i]
      end
    end
  end
else
  gone = {}
  for i = 1, n do
    local id, effect = ARGV[4 + i], effect_of[i]
    local pending = redis.pcall('XPENDING', stream, group, id, id, 1, me)
    local mine = pending.err == nil and #pending == 1
    local ours = mine or effect == nil or effect[2]
    if ours then
      redis.call('XACK', stream, group, id)
      ours = redis.call('XDEL', stream, id) == 1
    end
    if not ours then
      gone[i] = true
      stale[#stale + 1] = id
    elseif not mine then
      late[i] = true
      late_count = late_count + 1
    end
  end
end

-- One outcome entry for all. It comes ready made: 500 strings fewer to pass, and to join only if some are stale.
local outcomes = ARGV[5 + n]
if gone and outcomes ~= '' then
  local parts = {}
  for i, part in ipairs(split(outcomes, ARGV[6 + n])) do
    if part ~= '' and not gone[i] then
      parts[#parts + 1] = late[i] and mark(part) or part
    end
  end
  outcomes = #parts > 0 and '[' .. table.concat(parts, ',') .. ']' or ''
end
if outcomes ~= '' then
  redis.call('XADD', KEYS[3], '*', 'outcomes', outcomes)
end

-- A paused target is a schedule: whoever waits for it takes the next free slot and moves it on.
local pruned, held = false, 0
local function take_slot(target, interval, pause_end)
  if not pruned then
    redis.call('ZREMRANGEBYSCORE', KEYS[7], '-inf', '(' .. now)
    pruned = true
  end
  local next_free = tonumber(redis.call('ZSCORE', KEYS[7], target) or 0)
  local slot = math.max(next_free, pause_end, now)
  redis.call('ZADD', KEYS[7], slot + interval, target)
  if pause_end > now then
    redis.call('ZADD', KEYS[7], 'GT', pause_end, target .. '|until')
  end
  return slot
end

for _, effect in ipairs(effects) do
  if not (gone and gone[effect[1]]) then
    for _, job in ipairs(effect[3]) do
      local due, fields = job[2], ARGV[places + job[3]]
      if job[4] and job[5] < 0 then
        -- Whether the stop still stands is decided here: who lifts it looks for what waits only once.
        if redis.call('HEXISTS', KEYS[8], 'stop:' .. job[4]) == 1 then
          fields, held = 'P' .. job[4] .. fields, held + 1
        else
          due = now
        end
      elseif job[4] then
        -- The mark tells promotion that the score is a slot, to be carried on in `_state`.
        due, fields = take_slot(job[4], job[5], job[6]), 'S' .. fields
        held = held + 1
      end
      redis.call('ZADD', KEYS[4], due, job[1])
      redis.call('HSET', KEYS[5], job[1], fields)
    end
    for _, letter in ipairs(effect[4]) do
      redis.call('XADD', KEYS[6], '*', unpack(ARGV, places + letter[1], places + letter[2]))
    end
    local campaign, dedup = effect[5], effect[6]
    if campaign then
      for counter, by in pairs(campaign[2]) do
        redis.call('HINCRBY', campaign[1], counter, by)
      end
    end
    if dedup and redis.call('GET', dedup[1]) == dedup[2] then
      redis.call('DEL', dedup[1])
    end
  end
end
if held > 0 then
  -- For people only; promotion counts it down, and begins anew whenever nothing waits.
  redis.call('HINCRBY', KEYS[8], 'held', held)
end

return { n - #stale, late_count, time[1], time[2], stale }
