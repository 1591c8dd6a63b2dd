-- Forgets events of a job that are in storage.
-- KEYS[1] its events, KEYS[2] hash of how many of a job's first events are in storage alone
-- KEYS[3] set of the ended jobs that have events
-- ARGV[1] job id, ARGV[2] the first event's seq, ARGV[3] the seq behind the last
-- Returns whether they were the oldest here; else nothing happens.
local stored = tonumber(redis.call('HGET', KEYS[2], ARGV[1]) or 0)
local first, last = tonumber(ARGV[2]), tonumber(ARGV[3])
if first ~= stored or last < first then return 0 end
if last > stored + redis.call('LLEN', KEYS[1]) then return 0 end
if last > first then
  redis.call('LTRIM', KEYS[1], last - first, -1)
  redis.call('HSET', KEYS[2], ARGV[1], last)
end
if redis.call('LLEN', KEYS[1]) == 0 then redis.call('SREM', KEYS[3], ARGV[1]) end
return 1
