-- The requests of one wrk thread, made before the clock starts: Lua in the loop would make wrk the limit.
--   range PATH SEED SIZE LENGTH ALIGN   random aligned ranges
--   files PREFIX SEED COUNT             random numbered files, PREFIX00000000.bin and so on
--   whole PATH SEED                     one path, no range
local PREPARED = 8192
local requests, at, threads = {}, 0, 0

function setup(thread)
  thread:set("number", threads)
  threads = threads + 1
end

function init(args)
  local mode, path = args[1], args[2]
  math.randomseed(tonumber(args[3]) * 1000 + number)
  for i = 1, PREPARED do
    if mode == "range" then
      local size, length, align = tonumber(args[4]), tonumber(args[5]), tonumber(args[6])
      local first = math.random(0, math.floor((size - length) / align)) * align
      local range = string.format("bytes=%.0f-%.0f", first, first + length - 1)
      local headers = { Range = range }
      for name, value in pairs(wrk.headers) do
        headers[name] = value
      end
      requests[i] = wrk.format("GET", path, headers)
    elseif mode == "files" then
      requests[i] = wrk.format("GET", string.format("%s%08d.bin", path, math.random(0, tonumber(args[4]) - 1)))
    else
      requests[i] = wrk.format("GET", path)
    end
  end
end

function request()
  at = at % PREPARED + 1
  return requests[at]
end

function done(summary)
  local errors = summary.errors
  io.write(string.format(
    'BENCH {"requests": %d, "sent": %.0f, "microseconds": %d, "connect": %d, "read": %d, "write": %d, "status": %d, "timeout": %d}\n',
    summary.requests, summary.bytes, summary.duration,
    errors.connect, errors.read, errors.write, errors.status, errors.timeout))
end
