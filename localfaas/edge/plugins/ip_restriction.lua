-- ip-restriction: the words of a refusal that Envoy's access filter has decided on
edge.plugins["ip-restriction"] = {
  access = function(stream, conf, handle)
    local info = handle:streamInfo()
    local verdict = info:dynamicMetadata():get("envoy.filters.http.rbac")
    if not verdict or verdict["shadow_engine_result"] ~= "denied" then return end
    local message = conf.message or ("IP address not allowed: " .. edge.address(handle))
    return edge.error(stream, conf.status, message)
  end,
}
