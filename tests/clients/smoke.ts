// What the README promises, with the types that openapi-typescript makes and nothing but fetch.

import type { components, operations } from "./xengate.js";

declare const process: { argv: string[] };

type Json<Response> = Response extends { content: { "application/json": infer Body } } ? Body : undefined;
type Answers<Name extends keyof operations> = operations[Name]["responses"];
type Successes<Name extends keyof operations> = Extract<keyof Answers<Name>, 200 | 201 | 202 | 204>;
/** What an operation answers when it succeeds, one type for each status. */
type Answer<Name extends keyof operations> = {
  [Status in Successes<Name>]: { status: Status; body: Json<Answers<Name>[Status]> };
}[Successes<Name>];
type Body<Name extends keyof operations> = operations[Name] extends {
  requestBody?: { content: { "application/json": infer Body } };
}
  ? Body
  : undefined;
type Problem = components["schemas"]["Problem"];

class Failed extends Error {
  constructor(
    readonly status: number,
    readonly problem: Problem,
  ) {
    super(`${status} ${problem.code}: ${problem.detail}`);
  }
}

const url = process.argv[2] ?? "";
let token: string | undefined;

async function call<Name extends keyof operations>(
  _: Name,
  [method, path]: [string, string],
  body?: Body<Name>,
  headers: Record<string, string> = {},
): Promise<Answer<Name>> {
  if (token !== undefined) headers["Authorization"] = `Bearer ${token}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const init = body === undefined ? { method, headers } : { method, headers, body: JSON.stringify(body) };
  const response = await fetch(url + path, init);
  const text = await response.text();
  const json = text === "" ? undefined : JSON.parse(text);
  if (!response.ok) throw new Failed(response.status, json);
  return { status: response.status, body: json } as Answer<Name>;
}

function assert(holds: boolean, what: unknown): asserts holds {
  if (!holds) throw new Error(`not so: ${JSON.stringify(what)}`);
}

async function refused(what: Promise<unknown>): Promise<Failed> {
  try {
    await what;
  } catch (error) {
    if (error instanceof Failed) return error;
    throw error;
  }
  throw new Error("was not refused");
}

const login = await call("login", ["POST", "/sessions"], { username: "root", password: "simulated" });
token = login.body.token;

const { body: page } = await call("listVms", ["GET", "/vms?limit=1000"]);
assert(page.items.length > 10 && page.items.length === page.total, page.total);
const vm = page.items.find((one) => one.power_state === "Halted" && one.is_control_domain === false);
assert(vm !== undefined, "a halted VM");

const start: [string, string] = ["POST", `/vms/${vm.uuid}/actions/start`];
const wait = { Prefer: "wait=30" };
const started = await call("startVm", start, { force: false }, wait);
let task = started.body;
if (started.status === 202) {
  task = (await call("getTask", ["GET", `/tasks/${task.uuid}?wait=60`])).body;
}
assert(task.status === "success" && !task.error, task);

const now = await call("getVm", ["GET", `/vms/${vm.uuid}`]);
assert(now.body.power_state === "Running", now.body.power_state);
const { body: metrics } = await call("getVmMetrics", ["GET", `/vms/${vm.uuid}/metrics`]);
assert((metrics.VCPUs_number ?? 0) > 0, metrics);
console.log(`${vm.name_label}: ${metrics.VCPUs_number} VCPUs since ${metrics.start_time}`);

const again = await refused(call("startVm", start, undefined, wait));
assert(again.status === 409 && again.problem.code === "VM_BAD_POWER_STATE", again.problem);

const renamed = { name_label: "renamed", other_config: { smoke: "1", gone: null } };
const { body: changed } = await call("patchVm", ["PATCH", `/vms/${vm.uuid}`], renamed);
assert("uuid" in changed && changed.name_label === "renamed", changed);

await call("logout", ["DELETE", "/sessions/current"]);
const after = await refused(call("listVms", ["GET", "/vms"]));
assert(after.status === 401, after.problem);
