// What the bundles take for "undici": its own index also loads fetch, WebSocket, mocks, caches and HTTP/2, which is
// half of what a refresh spends on loading code. Same names, same meaning, for what src/adapters asks of it.
const { parseURL } = require("undici/lib/core/util.js");
const callRequest = require("undici/lib/api/api-request.js");
exports.Agent = require("undici/lib/dispatcher/agent.js");
exports.EnvHttpProxyAgent = require("undici/lib/dispatcher/env-http-proxy-agent.js");

/** undici's `request`, for a URL and a dispatcher that are given. */
exports.request = (url, { dispatcher, method = "GET", ...options }) => {
  const { origin, pathname, search } = parseURL(url);
  return callRequest.call(dispatcher, { ...options, method, origin, path: `${pathname}${search}` });
};
