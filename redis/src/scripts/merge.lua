-- Merges records into a pool's hash and publishes those that changed.
-- KEYS[1]: the hash, which is also the channel. ARGV[1]: the nonce of a new hash.
-- Then seven values for each record: its name, its epoch, how long it lasts (-1: without end, 0: not at all),
-- how long ago the mark was made, its kind, its reason, and its sealed scope, which is empty if it has none.
local FORMAT, FOREVER = '1', 9007199254740991
local DAY = 24 * 60 * 60 * 1000
local LONGEST, KEPT = 400 * DAY, 7 * DAY
local CONFLICT, SLACK, PRUNE_AFTER = 5000, 250, 60 * 1000

local key = KEYS[1]
local stored = redis.call('TYPE', key).ok
if stored ~= 'none' and (stored ~= 'hash' or redis.call('HGET', key, 'format') ~= FORMAT) then
    return {'foreign'}
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function text(number) return string.format('%.0f', number) end

local nonce = redis.call('HGET', key, 'nonce')
local changed, winners = {}, {}
for at = 2, #ARGV, 7 do
    local name, epoch, left, age = ARGV[at], tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
    local kind, reason, sealed = ARGV[at + 4], ARGV[at + 5], ARGV[at + 6]
    local value = redis.call('HGET', key, name)
    local old_epoch, old_until = string.match(value or '', '^(%d+) (%d+) ')
    old_epoch, old_until = tonumber(old_epoch or 0), tonumber(old_until or 0)
    if old_until <= now then old_until = 0 end
    -- The mark is newer than what an operator did elsewhere.
    local is_mark = kind == 'c' or kind == 'p'
    if epoch < old_epoch and is_mark and now - age > old_epoch + CONFLICT then epoch = old_epoch end
    local ends = 0
    if left < 0 then ends = FOREVER elseif left > 0 then ends = now + math.min(left, LONGEST) end
    local wins = epoch > old_epoch
    if epoch == old_epoch then
        if ends == FOREVER or old_until == FOREVER or old_until == 0 then
            wins = ends > old_until
        else
            wins = ends >= old_until + SLACK
        end
    end
    if wins then
        -- Whether two scopes were limited at the same time depends on when that was.
        local made = now
        if kind == 's' then made = math.max(0, now - age) end
        value = table.concat({text(epoch), text(ends), text(made), kind, reason}, ' ')
        if sealed ~= '' then value = value .. ' ' .. sealed end
        if not nonce then
            nonce = ARGV[1]
            redis.call('HSET', key, 'format', FORMAT, 'nonce', nonce, 'pruned', text(now))
        end
        redis.call('HSET', key, name, value)
        changed[#changed + 1] = name .. ' ' .. value
    end
    winners[#winners + 1] = value or ''
end

local pruned = tonumber(redis.call('HGET', key, 'pruned') or now) or 0
if nonce and math.abs(now - pruned) > PRUNE_AFTER then
    redis.call('HSET', key, 'pruned', text(now))
    local all = redis.call('HGETALL', key)
    for at = 1, #all, 2 do
        local epoch, ends, made, kind = string.match(all[at + 1], '^(%d+) (%d+) (%d+) (%a)')
        if made then
            local is_over = tonumber(ends) + PRUNE_AFTER < now
            if is_over and (epoch == '0' or kind == 's') then
                redis.call('HDEL', key, all[at])
            elseif tonumber(made) + KEPT < now then
                -- A replica that still knows it sends it again.
                redis.call('HDEL', key, all[at])
                redis.call('HINCRBY', key, 'version', 1)
            end
        end
    end
end

if #changed > 0 then
    local version = redis.call('HINCRBY', key, 'version', 1)
    redis.call('PEXPIRE', key, text(KEPT))
    local head = nonce .. ' ' .. version .. ' ' .. text(now)
    redis.pcall('PUBLISH', key, head .. '\n' .. table.concat(changed, '\n'))
end
return {text(now), nonce or '', redis.call('HGET', key, 'version') or '0', winners}
