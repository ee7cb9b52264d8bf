-- Put dead letters back into their lanes, each at most once.
--
-- KEYS  1 dead   2 high   3 normal   4 bulk
-- ARGV  1 how many letters; for each: its id, the place of its lane in KEYS, how many of its values (names and
--       values) are the job's own, how many values to add, and these
-- Returns the new entry ids in order, '' for a letter that is no longer there
--
-- A letter is there or it is not: whoever finds it moves it, all in one script, so that no two replays send it
-- twice. Each is added before it is removed, so that none is lost; a full Redis refuses the first XADD, as it
-- does every producer's. A field that is added takes the place of the job's own of that name.

local ids, at = {}, 2
for i = 1, tonumber(ARGV[1]) do
  local letter, lane, own, more = ARGV[at], KEYS[tonumber(ARGV[at + 1])], tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
  local found = redis.call('XRANGE', KEYS[1], letter, letter)[1]
  ids[i] = ''
  if found then
    local flat, replaced = {}, {}
    for place = at + 4, at + 3 + more, 2 do
      replaced[ARGV[place]] = true
    end
    for place = 1, own, 2 do
      if not replaced[found[2][place]] then
        flat[#flat + 1] = found[2][place]
        flat[#flat + 1] = found[2][place + 1]
      end
    end
    for place = at + 4, at + 3 + more do
      flat[#flat + 1] = ARGV[place]
    end
    ids[i] = redis.call('XADD', lane, '*', unpack(flat))
    redis.call('XDEL', KEYS[1], letter)
  end
  at = at + 4 + more
end
return ids
