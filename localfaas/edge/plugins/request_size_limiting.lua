-- request-size-limiting: what Content-Length tells; chunked bodies are the buffer filter's
edge.plugins["request-size-limiting"] = {
  access = function(stream, conf, handle)
    local headers = stream.headers
    local length = headers:get("content-length")
    if length then
      if tonumber(length) > conf.limit then return edge.error(stream, 413, "Request size limit exceeded") end
    elseif conf.require_length then
      -- A chunked body passes. Waiting for it ends the life of the handle's other objects.
      local chunked = handle:body() ~= nil
      stream.headers = handle:headers()
      if not chunked then return edge.error(stream, 411, "A valid Content-Length header is required") end
    end
  end,
}
