-- Jobs written since a cursor, or all that are in some index sets, as one snapshot with its cursor.
-- KEYS[1] counter, KEYS[2] zset of job ids by number, KEYS[3] hash of the feed, KEYS[4..] sets of job ids
-- ARGV[1] cursor or '', ARGV[2] prefix of job keys
-- Returns {1 if whole else 0, cursor, ids, jobs}; a job without a record is false.
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
if redis.call('HGET', KEYS[3], 'run') ~= run then
  -- A Redis that restarted may have lost writes whose numbers were told. It numbers from its time in
  -- microseconds, which is above all of them, and remembers nothing from before.
  local time = redis.call('TIME')
  local told = tonumber(redis.call('GET', KEYS[1]) or 0)
  local start = string.format('%.0f', math.max(told, time[1] * 1000000 + time[2]))
  redis.call('SET', KEYS[1], start)
  redis.call('DEL', KEYS[2])
  redis.call('HSET', KEYS[3], 'run', run, 'forgotten', start)
end

local cursor = tonumber(redis.call('GET', KEYS[1]))
local since = tonumber(ARGV[1])
local whole = not since or since > cursor or since < tonumber(redis.call('HGET', KEYS[3], 'forgotten'))
local ids
if whole then
  ids = redis.call('SUNION', unpack(KEYS, 4))
else
  ids = redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. ARGV[1], '+inf')
end
local jobs = {}
for i, id in ipairs(ids) do
  jobs[i] = redis.call('GET', ARGV[2] .. id)
end
return {whole and 1 or 0, cursor, ids, jobs}
