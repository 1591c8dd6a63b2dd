-- A stretch of a job's history, as far as it is here.
-- KEYS[1] its events, KEYS[2] hash of how many of a job's first events are in storage alone
-- ARGV[1] job id, ARGV[2] first seq (negative: so many before the end), ARGV[3] end, or ''
-- Returns the seq of the first event, and the events.
local stored = tonumber(redis.call('HGET', KEYS[2], ARGV[1]) or 0)
local length = stored + redis.call('LLEN', KEYS[1])
local last = length
if ARGV[3] ~= '' then last = math.min(length, tonumber(ARGV[3])) end
local first = tonumber(ARGV[2])
if string.sub(ARGV[2], 1, 1) == '-' then first = last + first end
first = math.max(stored, first)
if last <= first then return {first, {}} end
return {first, redis.call('LRANGE', KEYS[1], first - stored, last - stored - 1)}
