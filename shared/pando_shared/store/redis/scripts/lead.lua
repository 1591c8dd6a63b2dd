-- Makes a candidate the leader, or lets it stay one, for so long.
-- KEYS[1] leader   ARGV[1] candidate, ARGV[2] milliseconds
-- Returns 1, or 0 if another leads.
local leader = redis.call('GET', KEYS[1])
if leader and leader ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
