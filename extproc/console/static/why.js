// What an error code means and what to do about it.

import { w } from "./base.js";

const CODES = {
  cut: ["The connection broke before the answer was whole: the client hung up, or the vendor's connection broke. Envoy's access log says which.", "答案没传完连接就断了：客户端挂断，或厂商的连接中断。Envoy 的访问日志会说明是哪一边。"],
  client_left: ["The client hung up before the answer was whole: it was stopped, or its own timeout is shorter than the answer took.", "答案没传完客户端就挂断了：有人按了停止，或客户端的超时短于答案所需的时间。"],
  vendor_cut: ["The vendor's connection broke, before its answer or within it.", "厂商的连接在应答之前或应答中途断开。"],
  idle_timeout: ["Nothing went either way for as long as streamIdleTimeout allows.", "双方静默的时间超过 streamIdleTimeout。"],
  upstream_unavailable: ["The vendor could not be reached, or more was asked of it at a time than circuitBreakers allow.", "连不上厂商，或同时的请求超过 circuitBreakers 允许的数量。"],
  upstream_timeout: ["The vendor did not answer in time (retry: perTryTimeout, firstByteTimeout).", "厂商没有及时应答（retry 的 perTryTimeout、firstByteTimeout）。"],
  invalid_json: ["The client's body is no JSON object.", "客户端发来的内容不是 JSON 对象。"],
  too_many_values: ["The body has more JSON values than maxBodyValues allows.", "请求里的 JSON 值比 maxBodyValues 允许的多。"],
  missing_required_parameter: ["The client left out something that must be there.", "客户端缺少必需的参数。"],
  invalid_parameter: ["The client said something that is not possible there.", "客户端的某个参数不合法。"],
  invalid_api_key: ["The client showed no key, or none that is known here (clients in the configuration).", "客户端没有出示密钥，或密钥不在配置的 clients 中。"],
  model_not_allowed: ["This client may not use that model (clients: models).", "该客户端无权使用此模型（clients 的 models）。"],
  request_too_large: ["The body is longer than maxBodyBytes.", "请求超过 maxBodyBytes。"],
  unknown_url: ["There is no API at this path. Is /v1 in the client's base URL twice, or missing?", "这个路径没有对应的 API。检查客户端的 base URL 是否少了或多了 /v1。"],
  no_route: ["No route takes this request: see match in the routes of the configuration.", "没有路由接受这个请求：检查配置中路由的 match。"],
  unsupported_api: ["The vendor of this route does not have this API.", "该路由的厂商没有这个 API。"],
  model_not_found: ["The vendor knows no model of that name, or not for this key. Look at modelMapping.", "厂商没有这个模型，或此密钥不能用它。检查 modelMapping。"],
  vendor_auth: ["The vendor refuses our key: it is wrong, expired, or of another region.", "厂商拒绝了我们的密钥：密钥有误、过期，或属于别的地域。"],
  bad_upstream_response: ["The vendor's answer could not be read. Send the same in the playground to see what it said.", "厂商的应答无法解读。在“试验台”发同样的请求，可以看到它说了什么。"],
  stream_truncated: ["The vendor's stream ended before it said that it is over.", "厂商的流在说明结束之前就断了。"],
  context_unavailable: ["The provider's context text could not be fetched.", "该提供方的上下文文本取不到。"],
  token_unavailable: ["No token could be had from the vendor's login.", "无法从厂商登录取得令牌。"],
  overloaded: ["More requests at a time than maxConcurrentRequests.", "同时的请求数超过 maxConcurrentRequests。"],
  configuration_changing: ["A change of the configuration was under way; try again.", "配置正在切换；请重试。"],
  internal_error: ["A fault of ours: the log has a line with the same request id.", "是我们的错误：日志里有同一请求号的记录。"],
};
const STATUSES = {
  400: ["The vendor refuses the request as it was sent. Send it in the playground to read its words.", "厂商认为请求有误。在“试验台”发送它，可以看到厂商的原话。"],
  401: ["The key is refused.", "密钥被拒绝。"], 403: ["The key may not do this.", "密钥没有权限。"], 404: ["The vendor has no such model or path.", "厂商没有这个模型或路径。"],
  408: ["The request did not arrive in time.", "请求没有及时到齐。"], 429: ["Too many requests, or no credit left: see Keys under Well?", "请求过多或余额不足：见“还好吗？”中的密钥。"],
  500: ["The vendor failed.", "厂商出错。"], 502: ["The vendor's answer could not be used.", "厂商的应答不可用。"], 503: ["The vendor cannot be reached, or is overloaded.", "连不上厂商，或厂商过载。"], 504: ["No answer in time.", "没有及时应答。"],
};

/** A sentence for people, or nothing. */
export function why(row) {
  const words = CODES[row.error] ?? (row.error || row.status >= 400 ? STATUSES[row.status] ?? STATUSES[Math.floor((row.status ?? 0) / 100) * 100] : null);
  return words ? w(...words) : "";
}
