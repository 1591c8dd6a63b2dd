-- A job and what the scheduler foresees for it, in one round trip: the API's commonest question.
-- KEYS[1] job   KEYS[2] hash of forecasts   ARGV[1] the job's id
-- Returns two JSON texts; false where there is none.
return { redis.call('GET', KEYS[1]), redis.call('HGET', KEYS[2], ARGV[1]) }
