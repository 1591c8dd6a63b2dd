-- Counts what a tenant keeps in storage. Sums move by what a thing counts more or less than before,
-- so that doing it again changes nothing.
-- KEYS[1] hash: thing -> bytes, KEYS[2] zset: things that count for a while, by until when,
-- KEYS[3] hash: kind -> the sum of its things' bytes
-- ARGV[1] now, or '': nothing is forgotten, ARGV[2] what all may come to, or '',
-- ARGV[3] until when these things count, or '': until they are set to 0,
-- ARGV[4..] a thing, which begins with its kind and a space, and its bytes; the next one; ...
-- Returns 1, or 0 if it would come to more and nothing was counted; then kinds and their sums.
local function count(thing, bytes)
  local before = tonumber(redis.call('HGET', KEYS[1], thing) or '0')
  if bytes == 0 then
    redis.call('HDEL', KEYS[1], thing)
  else
    redis.call('HSET', KEYS[1], thing, string.format('%.0f', bytes))
  end
  local kind = string.match(thing, '^%S+')
  redis.call('HINCRBY', KEYS[3], kind, string.format('%.0f', bytes - before))
end

if ARGV[1] ~= '' then
  for _, thing in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', ARGV[1])) do
    count(thing, 0)
    redis.call('ZREM', KEYS[2], thing)
  end
end
local taken = 1
if ARGV[2] ~= '' then
  local grown, after = 0, 0
  for i = 4, #ARGV, 2 do
    grown = grown + ARGV[i + 1] - (redis.call('HGET', KEYS[1], ARGV[i]) or 0)
  end
  for _, sum in ipairs(redis.call('HVALS', KEYS[3])) do after = after + sum end
  if grown > 0 and after + grown > tonumber(ARGV[2]) then taken = 0 end
end
if taken == 1 then
  for i = 4, #ARGV, 2 do
    local thing, bytes = ARGV[i], tonumber(ARGV[i + 1])
    count(thing, bytes)
    if ARGV[3] == '' or bytes == 0 then
      redis.call('ZREM', KEYS[2], thing)
    else
      redis.call('ZADD', KEYS[2], ARGV[3], thing)
    end
  end
end
return {taken, redis.call('HGETALL', KEYS[3])}
