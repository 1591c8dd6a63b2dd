-- A job's state is in storage, unless it is another by now.
-- KEYS[1] hash of the jobs whose state is not   ARGV[1] job id, ARGV[2] the state that is
if redis.call('HGET', KEYS[1], ARGV[1]) == ARGV[2] then
  redis.call('HDEL', KEYS[1], ARGV[1])
end
