-- The embedded edge's part of every request and response: ids, forwarded headers, plugins, error bodies.
-- What a route wants arrives with the route (filter_context), so that this text, and the counters in it, stay
-- the same when kong.yml changes. One worker runs it: what it reads and writes in one step is exact.

local byte, find, format, gsub, lower, sub, upper =
  string.byte, string.find, string.format, string.gsub, string.lower, string.sub, string.upper

local edge = {plugins = {}}

-- Random ids: the kernel's generator, read in blocks.
local random = assert(io.open("/dev/urandom", "rb"))
local pool, used = "", 0
local HEX = string.rep("%02x", 16)
local UUID = "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x"

local function sixteen_bytes()
  if used + 16 > #pool then pool, used = random:read(4096), 0 end
  used = used + 16
  return byte(pool, used - 15, used)
end

function edge.uuid()
  local a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p = sixteen_bytes()
  return format(UUID, a, b, c, d, e, f, g % 16 + 64, h, i % 64 + 128, j, k, l, m, n, o, p)
end

-- Error bodies in the four forms Kong has. %s: message, request id.
local BODIES = {
  json = {"application/json; charset=utf-8", '{\n  "message":"%s",\n  "request_id":"%s"\n}'},
  plain = {"text/plain; charset=utf-8", "%s\nrequest_id: %s\n"},
  html = {"text/html; charset=utf-8", [[<!doctype html>
<html>
  <head>
    <meta charset="utf-8">
    <title>Error</title>
  </head>
  <body>
    <h1>Error</h1>
    <p>%s.</p>
    <p>request_id: %s</p>
  </body>
</html>
]]},
  xml = {"application/xml; charset=utf-8", [[<?xml version="1.0" encoding="UTF-8"?>
<error>
  <message>%s</message>
  <requestid>%s</requestid>
</error>
]]},
}
local FORMS = {
  ["text/html"] = "html", ["text/plain"] = "plain", ["text/*"] = "plain",
  ["application/xml"] = "xml", ["text/xml"] = "xml",
}

local function form_of(media_type)
  return FORMS[lower(media_type)] or "json"
end

-- The form for an Accept header: the highest q wins, the first of equals; `absent` where there is none.
local function error_form(accept, absent)
  if not accept or accept == "" then return absent end
  local best, best_q = "json", -1
  for entry in accept:gmatch("[^,]+") do
    local media_type = entry:match("^%s*([^;%s]+)")
    local q = tonumber(entry:match(";%s*q=([%d.]+)") or "1") or 0
    if media_type and q > best_q then best, best_q = form_of(media_type), q end
  end
  return best
end

local function escaped(message)
  return (gsub(gsub(message, "\\", "\\\\"), '"', '\\"'))
end

local function error_body(form, message, id)
  local kind = BODIES[form]
  return kind[1], format(kind[2], form == "json" and escaped(message) or message, id)
end

-- A plugin's access phase answers with one of these; nothing means: go on.
function edge.reply(status, headers, body)
  return {status = status, headers = headers or {}, body = body or ""}
end

function edge.error(stream, status, message, headers)
  local kind, body = error_body(error_form(stream.headers:get("accept"), "json"), message, stream.id)
  local reply = edge.reply(status, headers, body)
  reply.headers["content-type"] = kind
  return reply
end

-- What a route wants, parsed once.
local configurations, known = {}, 0

local function configuration(handle)
  local context = handle:filterContext()
  local id = context and context:get("id")
  if not id then return nil end
  local found = configurations[id]
  if found then return found end
  if known > 2000 then configurations, known = {}, 0 end
  found = assert(loadstring("return " .. context:get("conf")))()
  found.access, found.response = {}, {}
  for _, use in ipairs(found.plugins) do
    local plugin = edge.plugins[use.name]
    if plugin.access and not found.closed then table.insert(found.access, {run = plugin.access, conf = use.conf}) end
    if plugin.no_route and found.closed then table.insert(found.access, {run = plugin.no_route, conf = use.conf}) end
    if plugin.response then table.insert(found.response, {run = plugin.response, conf = use.conf}) end
  end
  configurations[id], known = found, known + 1
  return found
end

-- The client's address, without its port.
function edge.address(handle)
  local address = handle:streamInfo():downstreamDirectRemoteAddress()
  return (gsub(gsub(address, ":%d+$", ""), "[%[%]]", ""))
end

-- Streams between request and response, by id. One whose client left is dropped after ten minutes at least.
local LIFETIME_SECONDS = 600
local young, old, turned = {}, {}, os.time()

local function remember(stream, now)
  if now - turned > LIFETIME_SECONDS then young, old, turned = {}, young, now end
  young[stream.id] = stream
end

local function recall(id)
  local stream = young[id]
  if stream then
    young[id] = nil
    return stream
  end
  stream = old[id]
  old[id] = nil
  return stream
end

-- Escapes of a path in capitals. Returns nil for one that is no escape, false for a path that is not UTF-8.
local function clean_escapes(path)
  local last = (find(path, "?", 1, true) or #path + 1) - 1
  local head = sub(path, 1, last)
  if find(gsub(head, "%%%x%x", ""), "%", 1, true) then return nil end
  head = gsub(head, "%%%x%x", upper)
  if find(head, "%%[89A-F]%x") then
    local raw = gsub(head, "%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end)
    local rest = gsub(raw, "[%z\1-\127]", "")
    rest = gsub(rest, "[\194-\223][\128-\191]", "")
    rest = gsub(rest, "[\224-\239][\128-\191][\128-\191]", "")
    rest = gsub(rest, "[\240-\244][\128-\191][\128-\191][\128-\191]", "")
    if rest ~= "" then return false end
  end
  return head .. sub(path, last + 1)
end

local function unreadable(stream, status, message)
  local kind, body = error_body("plain", message, stream.id)
  return edge.reply(status, {["content-type"] = kind}, body)
end

-- What nginx keeps for a request line is 8 kB; the path may have all of it but method, version and spaces.
local LONGEST_PATH = 8192 - 16

local function check_path(stream, headers)
  local path = headers:get(":path")
  if #path > LONGEST_PATH then return unreadable(stream, 414, "URI too long") end
  if not find(path, "%", 1, true) then return nil end
  local clean = clean_escapes(path)
  if clean == nil then
    return unreadable(stream, 400, "Bad request")
  elseif clean == false then
    return edge.error(stream, 404, "no Route matched with those values")
  elseif clean ~= path then
    headers:replace(":path", clean)
  end
  return nil
end

-- A plain request to a route of HTTPS alone: the port is left out, as Kong does.
local function https_asked(stream, answer)
  if answer.status == 426 then
    return edge.error(stream, 426, answer.message, {["upgrade"] = "TLS/1.2, HTTP/1.1"})
  end
  local headers = stream.headers
  return edge.reply(answer.status, {["location"] = "https://" .. headers:get("x-forwarded-host") .. headers:get(":path")})
end

local function closed(stream)
  local answer = stream.conf.closed
  if answer.https then return https_asked(stream, answer) end
  if answer.plain then return unreadable(stream, answer.status, answer.message) end
  return edge.error(stream, answer.status, answer.message)
end

-- Envoy joins two Host headers with a comma, which is in no host's name.
local function check_host(stream, authority)
  if find(authority, ",", 1, true) then return unreadable(stream, 400, "Bad request") end
end

local function run_access(stream, handle, authority)
  local reply = check_host(stream, authority) or check_path(stream, stream.headers)
  if reply then return reply end
  local access = stream.conf.access
  for index = 1, #access do
    reply = access[index].run(stream, access[index].conf, handle)
    if reply then return reply end
  end
  return stream.conf.closed and closed(stream)
end

-- A client's own deadline, as the functions read it: a Go duration such as `1m30s` or `750ms` in X-Timeout.
-- When it has passed nobody waits any more, so nothing is tried again. Returns milliseconds, nil for anything else.
local MILLISECONDS = {h = 3600000, m = 60000, s = 1000, ms = 1}

local function deadline_ms(text)
  local total, rest = 0, gsub(text, "^%s+", "")
  while rest ~= "" do
    local number, unit, after = rest:match("^([%d.]+)(%a+)(.*)$")
    number, unit = tonumber(number), MILLISECONDS[unit]
    if not number or not unit then return nil end
    total, rest = total + number * unit, after
  end
  return total > 0 and format("%d", math.min(math.max(total, 1), 86400000)) or nil
end

-- The deadline is the stream's, which says nothing of the target: as a time-out of the upstream it would count against it,
-- and whoever is in a hurry could have every target taken out. Envoy reads it from `grpc-timeout` when it looks for the
-- route, so it is made to look once more. A client's own `grpc-timeout` is for the upstream, as with Kong: it ends nothing
-- here and is passed on.
local function keep_deadline(handle, headers)
  local timeout, own = headers:get("x-timeout"), headers:get("grpc-timeout")
  local deadline = timeout and deadline_ms(timeout)
  if not deadline and not own then return end
  if deadline then headers:replace("grpc-timeout", deadline .. "m") else headers:remove("grpc-timeout") end
  handle:clearRouteCache()
  handle:metadata()
  if own then headers:replace("grpc-timeout", own) else headers:remove("grpc-timeout") end
end

-- W3C Trace Context: a client's own trace goes on; where it sent none, or nonsense, one begins whose id is the
-- request's, which nobody records. Where spans are recorded Envoy has begun it and sets its own afterwards.
local function check_trace(headers, id)
  local sent = headers:get("traceparent")
  if sent then
    local whole = #sent == 55 and byte(sent, 36) == 45 and byte(sent, 53) == 45
    if whole and find(sent, "^00%-[%da-f]+%-[%da-f]+%-[%da-f]+$") and not find(sent, "%-0+%-") then return end
    headers:remove("tracestate")
  end
  headers:replace("traceparent", "00-" .. id .. "-" .. sub(id, 17) .. "-00")
end

function envoy_on_request(handle)
  local conf = configuration(handle)
  if not conf then return end
  local headers = handle:headers()
  local stream = {headers = headers, conf = conf, id = format(HEX, sixteen_bytes()), now = os.time()}
  headers:replace("x-kong-request-id", stream.id)
  check_trace(headers, stream.id)
  local authority = headers:get(":authority")
  headers:replace("x-forwarded-host", lower((gsub(authority, ":%d+$", ""))))
  keep_deadline(handle, headers)
  remember(stream, stream.now)
  local reply = run_access(stream, handle, authority)
  stream.headers = nil
  if reply then
    stream.replied = true
    reply.headers[":status"] = tostring(reply.status)
    reply.headers["x-kong-request-id"] = stream.id
    handle:respond(reply.headers, reply.body)
  end
end

-- Failures of the upstream, as the local reply mapper names them.
local FAILURES = {
  timeout = "The upstream server is timing out",
  invalid = "An invalid response was received from the upstream server",
  busy = "The upstream server is currently unavailable",
}

local function own_headers(headers)
  headers:remove("via")
  headers:remove("x-kong-upstream-latency")
  headers:remove("x-kong-proxy-latency")
  headers:remove("server-timing")
  headers:remove("x-edge-reply")
  headers:replace("x-kong-response-latency", "0")
end

-- Waits for the body, so no other object of the handle is good afterwards.
local function write_body(handle, text)
  local body = handle:body(true)
  if body then
    local length = body:setBytes(text)
    handle:headers():replace("content-length", tostring(length))
  end
end

local function failure(handle, headers, stream, reason)
  local accept, sent = headers:get("x-edge-accept"), headers:get("x-edge-content-type")
  headers:remove("x-edge-reply")
  headers:remove("x-edge-accept")
  headers:remove("x-edge-content-type")
  headers:remove("server-timing")
  if stream.replied then return end
  local message, absent = FAILURES[reason], sent and form_of(sent:match("^[^;]*")) or "plain"
  if reason == "no-peer" then message, absent = stream.conf.no_peer, "json" end
  if reason == "too-large" then
    message, absent = "Request size limit exceeded", "json"
    stream.replied = true
  end
  if not message then return end
  if reason == "busy" or reason == "no-peer" then headers:replace("retry-after", "1") end
  stream.failure = {error_body(error_form(accept, absent), message, stream.id)}
end

local CHARSET = {
  ["text/html"] = true, ["text/plain"] = true, ["text/xml"] = true, ["application/javascript"] = true,
}

function envoy_on_response(handle)
  local headers = handle:headers()
  local id = headers:getAtIndex("x-kong-request-id", 0)
  local stream = id and recall(id)
  local reason = headers:get("x-edge-reply")
  if not stream then
    -- Envoy could not read the request.
    if not id then
      local fresh = format(HEX, sixteen_bytes())
      headers:replace("x-kong-request-id", fresh)
      own_headers(headers)
      local status = headers:get(":status")
      local kind, text = error_body("plain", status == "414" and "URI too long" or "Bad request", fresh)
      headers:replace("content-type", kind)
      write_body(handle, text)
    end
    return
  end
  if reason then failure(handle, headers, stream, reason) end
  if stream.replied then
    own_headers(headers)
    headers:replace("x-kong-request-id", id)
  end
  local content_type = headers:get("content-type")
  if content_type and CHARSET[content_type] then headers:replace("content-type", content_type .. "; charset=UTF-8") end
  if stream.failure then headers:replace("content-type", stream.failure[1]) end
  local response = stream.conf.response
  for index = 1, #response do response[index].run(stream, response[index].conf, headers) end
  if stream.failure then write_body(handle, stream.failure[2]) end
end
