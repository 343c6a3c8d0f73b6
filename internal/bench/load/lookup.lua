-- wrk asks for random orders. Arguments: a file with an id a line, and what stands before the id in the path.
local threads = 0

function setup(thread)
   threads = threads + 1
   thread:set("seed", threads)
end

function init(args)
   math.randomseed(seed)
   ids, before = {}, "GET " .. args[2]
   after = " HTTP/1.1\r\nHost: " .. wrk.host .. "\r\n\r\n"
   for id in io.lines(args[1]) do ids[#ids + 1] = id end
end

function request()
   return before .. ids[math.random(#ids)] .. after
end

function done(summary, latency)
   local e = summary.errors
   io.write(string.format('\nRESULT {"requests":%d,"microseconds":%d,"p50":%d,"p99":%d,"errors":%d}\n', summary.requests, summary.duration,
      latency:percentile(50), latency:percentile(99), e.connect + e.read + e.write + e.status + e.timeout))
end
