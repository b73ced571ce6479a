-- SPDX-License-Identifier: Apache-2.0
--
-- What the Redis engine has done within Redis, each request in one atomic step.
--
-- Keys, behind a prefix:
--   generation  hash: id (random), n, run (the run_id of the Redis that it began in), base
--   m:TOPIC     text: e epoch, s newest offset, f the epoch begins behind it, g generation,
--               b octets in the stream, w wall time of the newest message, c messages in the stream,
--               t when the stream's end was last put off, r 1 if it has a retained message (then
--               the topic does not end), h former epochs
--   s:TOPIC     stream: one field m, a message as it is published, by its offset
--   r:TOPIC     its retained message, as it was published;  retained: how many topics have one
--   k:TOPIC,KEY what a publish with a key came to
-- Channels, behind a prefix with the number of the database, which channels do not know:
--   c:TOPIC     its messages;  f:*  all messages, for nodes with filters
--
-- A generation ends when Redis is another one than before: a restart, a failover. Nobody knows
-- what that one still knew, so each topic begins a new epoch with the first request about it.
-- Its offsets begin behind all that any node can have told under the epochs before: behind base,
-- which is the time in ms, as no topic has a thousand messages each second of its life. The former
-- epoch stays in h with its last offset: up to that one both are the same.

local P, C, generation, fresh = ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local FORKS = 8

local function number(n)
    return string.format('%d', n)
end

local function time_ms()
    local t = redis.call('TIME')
    return t[1] * 1000 + math.floor(t[2] / 1000)
end

-- The generation that this Redis is in; whoever was told another one has to ask again.
local function current()
    local g = redis.call('HMGET', P .. 'generation', 'id', 'n', 'base')
    if not g[1] or g[1] .. '.' .. g[2] ~= generation then return nil end
    return tonumber(g[3])
end

-- A topic goes on in another epoch, behind all that it has and behind `least`.
local function fork(m, least)
    m.h = m.e .. ':' .. number(m.s) .. ',' .. m.h
    local at = 0
    for _ = 1, FORKS do at = at and string.find(m.h, ',', at + 1, true) end
    if at then m.h = string.sub(m.h, 1, at) end
    m.s = math.max(m.s + 1, least)
    m.e, m.f, m.is_new = fresh, m.s, true
end

-- A topic as it stands now. What is changed here is written by store(). It is one text, since each
-- call of Redis costs more than reading it.
local function load(topic, base)
    local m = {key = P .. 'm:' .. topic, h = ''}
    local text = redis.call('GET', m.key) or ''
    local e, s, f, g, b, w, c, t, r, h =
        string.match(text, '^(%d+) (%d+) (%d+) (%S+) (%d+) (%d+) (%d+) (%d+) (%d) (.*)$')
    if e then
        m.e, m.s, m.f, m.r, m.h = e, tonumber(s), tonumber(f), r, h
        m.b, m.w, m.c, m.t = tonumber(b), tonumber(w), tonumber(c), tonumber(t)
        if g ~= generation then fork(m, base) end
        return m
    end
    local stream = P .. 's:' .. topic -- of an epoch that nobody remembers
    if redis.call('EXISTS', stream) == 1 then redis.call('DEL', stream) end
    m.b, m.w, m.c, m.t, m.r = 0, 0, 0, 0, '0'
    m.e, m.s, m.f, m.is_new = fresh, base, base, true
    return m
end

local function store(m, seconds)
    local text = string.format('%s %d %d %s %d %d %d %d %s %s', m.e, m.s, m.f, generation, m.b, m.w,
                               m.c, m.t, m.r, m.h)
    if m.r == '1' then redis.call('SET', m.key, text)
    else redis.call('SET', m.key, text, 'EX', seconds) end
end

-- Until the stream is within its limits, the newest message in any case. It is let grow to twice
-- of them before, so that this is done seldom.
local function trim(stream, m, most, octets)
    while m.c > 1 and (m.c > most or m.b > octets) do
        local old = redis.call('XRANGE', stream, '-', '+', 'COUNT', 100)
        local last
        for _, entry in ipairs(old) do
            if m.c <= 1 or (m.c <= most and m.b <= octets) then break end
            m.c = m.c - 1
            m.b = m.b - #entry[2][2]
            last = entry[1]
        end
        if not last then -- it has less than was counted
            m.c, m.b = #old, 0
            return
        end
        redis.call('XTRIM', stream, 'MINID', string.match(last, '^%d+') .. '-1')
    end
    m.c, m.b = math.max(m.c, 0), math.max(m.b, 0)
end

-- The stream lives for `seconds` after its newest message, and for up to a quarter longer, so that
-- this need not be said with each.
local function keep(stream, m, now, seconds)
    if now - m.t < 250 * seconds then return end
    redis.call('EXPIRE', stream, math.floor(seconds * 5 / 4) + 1)
    m.t = now
end

local function append(stream, id, text)
    local added = redis.pcall('XADD', stream, id, 'm', text)
    if type(added) ~= 'table' or not added.err then return end
    if not string.find(added.err, 'equal or smaller', 1, true) then error(added) end
    redis.call('DEL', stream) -- somebody else has written to it
    redis.call('XADD', stream, id, 'm', text)
end

local function announce(topic, text)
    redis.call('PUBLISH', C .. 'c:' .. topic, text)
    redis.call('PUBLISH', C .. 'f:*', #topic .. ':' .. topic .. text)
end

-- What the key came to before; nil: nothing yet. `digest` is of what the publisher said.
local function recall(key, digest)
    local done = redis.call('GET', key)
    if not done then return nil end
    if string.sub(done, 1, 40) ~= digest then return 'OTHER' end
    return '=' .. string.sub(done, 41)
end

-- A message is retained, or ('-') none is any more. False: there may be no more such topics.
local function retain(topic, how, text)
    local key, count = P .. 'r:' .. topic, P .. 'retained'
    if how == '-' then
        if redis.call('DEL', key) == 1 then redis.call('DECR', count) end
        return true
    end
    if redis.call('EXISTS', key) == 0 then
        if tonumber(redis.call('GET', count) or 0) >= tonumber(how) then return false end
        redis.call('INCR', count)
    end
    redis.call('SET', key, text)
    return true
end

-- topic, parcel, octets of its head, messages, octets and seconds of its window, seconds for which
-- the position is kept, key, seconds for which that is kept, how many topics may have a retained
-- message if this one is to be ('': it is not, '-': there is none any more)
local function publish_one(i, base, now)
    local topic, parcel, most = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 3])
    local how = ARGV[i + 9]
    local key, digest
    if ARGV[i + 7] ~= '' then
        key = P .. 'k:' .. #topic .. ':' .. topic .. ',' .. ARGV[i + 7]
        digest = redis.sha1hex(string.sub(parcel, tonumber(ARGV[i + 2])))
        local done = recall(key, digest)
        if done then return done end
    end
    local place = '0:0'
    if most > 0 then
        local m, stream = load(topic, base), P .. 's:' .. topic
        m.s = m.s + 1
        local octets, seconds = tonumber(ARGV[i + 4]), tonumber(ARGV[i + 5])
        m.w = math.max(m.w, now)
        place = m.e .. ':' .. number(m.s)
        local text = place .. ':' .. number(m.w) .. ':' .. parcel
        if how ~= '' and not retain(topic, how, text) then return 'LIMIT' end
        if how ~= '' then m.r = how == '-' and '0' or '1' end
        append(stream, number(m.s) .. '-0', text)
        m.c, m.b = m.c + 1, m.b + #text
        if now - m.t >= 1000 * seconds then -- what was counted may be gone
            m.c = redis.call('XLEN', stream)
            if m.c == 1 then m.b = #text end
        end
        if m.c > 2 * most or m.b > 2 * octets then trim(stream, m, most, octets) end
        keep(stream, m, now, seconds)
        store(m, ARGV[i + 6])
        announce(topic, text)
    else
        local text = place .. ':' .. number(now) .. ':' .. parcel
        if how ~= '' and not retain(topic, how, text) then return 'LIMIT' end
        announce(topic, text)
    end
    if key then redis.call('SET', key, digest .. place, 'EX', ARGV[i + 8]) end
    return place
end

local function why(fault)
    return '-' .. (type(fault) == 'table' and fault.err or tostring(fault))
end

local function publish(base)
    local answers, now = {}, time_ms()
    for i = 6, #ARGV, 10 do
        local ok, answer = pcall(publish_one, i, base, now)
        answers[#answers + 1] = ok and answer or why(answer)
    end
    return answers
end

-- topic, seconds for which its position is kept, the offset after which messages are wanted, how
-- many octets of them at most, whether it has history (else there is only what is retained), the
-- epoch that the offset is of ('0': none)
--
-- Who stands where this epoch had not begun, and knows nothing of it, cannot go on in it: for him
-- the topic begins another one.
local function look(base)
    local topic, seconds, after, most = ARGV[6], ARGV[7], tonumber(ARGV[8]), tonumber(ARGV[9])
    local retained = redis.call('GET', P .. 'r:' .. topic) or ''
    if ARGV[10] == '0' then return {'0', '0', '0', '', retained, '0', number(after)} end
    local m = load(topic, base)
    if ARGV[11] ~= '0' and ARGV[11] ~= m.e and m.f <= after then fork(m, after + 1) end
    if m.is_new then store(m, seconds)
    elseif m.r ~= '1' then redis.call('EXPIRE', m.key, seconds) end
    local answer = {m.e, number(m.s), number(m.f), m.h, retained, '0', ''}
    local size, from = 0, '(' .. number(after) .. '-0'
    while size <= most do
        local found = redis.call('XRANGE', P .. 's:' .. topic, from, '+', 'COUNT', 64)
        for _, entry in ipairs(found) do
            answer[#answer + 1] = entry[2][2]
            size = size + #entry[2][2]
            from = '(' .. entry[1]
        end
        if #found < 64 then break end
    end
    if size > most then answer[6] = '1' end -- there may be more
    answer[7] = string.match(from, '%d+')
    return answer
end

-- run_id, the generation that who asks knew ('': none), the highest offset that it has told
local function fence()
    local key = P .. 'generation'
    local g = redis.call('HMGET', key, 'id', 'n', 'run', 'base')
    local id, n, base = g[1] or fresh, tonumber(g[2] or 0), tonumber(g[4] or 0)
    local known, top = ARGV[7], tonumber(ARGV[8])
    local is_other = g[3] ~= ARGV[6]
    if is_other or (known ~= '' and known ~= id .. '.' .. n and top >= base) then
        n = n + 1
        if g[1] or known ~= '' then base = math.max(base, top + 1, time_ms()) end
        redis.call('HSET', key, 'id', id, 'n', n, 'run', ARGV[6], 'base', number(base))
    end
    return id .. '.' .. n
end

if ARGV[1] == 'fence' then return fence() end
local base = current()
if not base then return redis.error_reply('REFENCE this is another Redis than before') end
if ARGV[1] == 'publish' then return publish(base) end
return look(base)
