// What the README promises, with the types that openapi-typescript makes and openapi-fetch.

import createClient from "openapi-fetch";

import type { components, paths } from "./xengate.js";

declare const process: { argv: string[] };

type Problem = components["schemas"]["Problem"];
type Answer<Body> = { data?: Body; error?: Problem; response: Response };

function assert(holds: boolean, what: unknown): asserts holds {
  if (!holds) throw new Error(`not so: ${JSON.stringify(what)}`);
}

async function done<Body>(asked: Promise<Answer<Body>>): Promise<Body> {
  const { data, error } = await asked;
  assert(data !== undefined, error);
  return data;
}

async function refused(asked: Promise<Answer<unknown>>, status: number): Promise<Problem> {
  const { error, response } = await asked;
  assert(error !== undefined && response.status === status, error);
  return error;
}

let token: string | undefined;
const gateway = createClient<paths, "application/json" | "application/problem+json">({ baseUrl: process.argv[2] ?? "" });
gateway.use({
  onRequest({ request }) {
    if (token !== undefined) request.headers.set("Authorization", `Bearer ${token}`);
    return request;
  },
});

const credentials = { username: "root", password: "simulated" };
token = (await done(gateway.POST("/sessions", { body: credentials }))).token;

const page = await done(gateway.GET("/vms", { params: { query: { limit: 1000 } } }));
assert(page.items.length > 10 && page.items.length === page.total, page.total);
const vm = page.items.find((one) => one.power_state === "Halted" && one.is_control_domain === false);
assert(vm !== undefined, "a halted VM");

const path = { uuid: vm.uuid };
const start = { params: { path, header: { Prefer: "wait=30" } } };
let task = await done(gateway.POST("/vms/{uuid}/actions/start", start));
if (task.status === "pending") {
  const params = { path: { uuid: task.uuid }, query: { wait: 60 } };
  task = await done(gateway.GET("/tasks/{uuid}", { params }));
}
assert(task.status === "success" && !task.error, task);

const now = await done(gateway.GET("/vms/{uuid}", { params: { path } }));
assert(now.power_state === "Running", now.power_state);
const metrics = await done(gateway.GET("/vms/{uuid}/metrics", { params: { path } }));
assert((metrics.VCPUs_number ?? 0) > 0, metrics);
console.log(`${vm.name_label}: ${metrics.VCPUs_number} VCPUs since ${metrics.start_time}`);

// A failure is typed too, and names its task.
const again = await refused(gateway.POST("/vms/{uuid}/actions/start", start), 409);
assert(again.code === "VM_BAD_POWER_STATE" && again.task !== undefined, again);

const body = { name_label: "renamed", other_config: { smoke: "1", gone: null } };
const changed = await done(gateway.PATCH("/vms/{uuid}", { params: { path }, body }));
assert("uuid" in changed && changed.name_label === "renamed", changed);

const { response } = await gateway.DELETE("/sessions/current");
assert(response.status === 204, response.status);
await refused(gateway.GET("/vms"), 401);
