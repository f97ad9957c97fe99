-- request-size-limiting: what Content-Length tells; chunked bodies are the buffer filter's
edge.plugins["request-size-limiting"] = {
  access = function(stream, conf)
    local headers = stream.headers
    local length = headers:get("content-length")
    if length then
      if tonumber(length) > conf.limit then return edge.error(stream, 413, "Request size limit exceeded") end
    elseif conf.require_length and not headers:get("transfer-encoding") then
      return edge.error(stream, 411, "A valid Content-Length header is required")
    end
  end,
}
