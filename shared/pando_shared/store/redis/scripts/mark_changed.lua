-- Gives a write of a job its number in the change feed, and keeps the feed short.
-- KEYS[1] counter, KEYS[2] zset of job ids by number, KEYS[3] hash of the feed
-- ARGV[1] job id, ARGV[2] how many jobs the feed remembers
redis.call('ZADD', KEYS[2], redis.call('INCR', KEYS[1]), ARGV[1])
local over = redis.call('ZCARD', KEYS[2]) - ARGV[2]
if over > 0 then
  local forgotten = redis.call('ZPOPMIN', KEYS[2], over)
  redis.call('HSET', KEYS[3], 'forgotten', forgotten[#forgotten])
end
