// What the README promises, through the client that @hey-api/openapi-ts makes.

import { client } from "./client/client.gen.js";
import {
  createNetwork, destroyNetwork, getTask, getVm, getVmMetrics, getVmSnapshot, listVms, login, logout, patchVm,
  snapshotVm, startVm,
} from "./client/sdk.gen.js";
import type { Problem } from "./client/types.gen.js";

declare const process: { argv: string[] };

function assert(holds: boolean, what: unknown): asserts holds {
  if (!holds) throw new Error(`not so: ${JSON.stringify(what)}`);
}

type Answer<Body> = { data?: Body; error?: Problem; response?: Response };

async function done<Body>(asked: Promise<Answer<Body>>): Promise<Body> {
  const { data, error } = await asked;
  assert(data !== undefined && error === undefined, error);
  return data;
}

async function refused(asked: Promise<Answer<unknown>>, status: number): Promise<Problem> {
  const { error, response } = await asked;
  assert(error !== undefined && response?.status === status, error);
  return error;
}

client.setConfig({ baseUrl: process.argv[2] ?? "" });
const { token } = await done(login({ body: { username: "root", password: "simulated" } }));
client.setConfig({ auth: token });

const page = await done(listVms({ query: { limit: 1000 } }));
assert(page.items.length > 10 && page.items.length === Number(page.total), page.total);
const vm = page.items.find((one) => one.power_state === "Halted" && one.is_control_domain === false);
assert(vm !== undefined, "a halted VM");

const path = { uuid: vm.uuid };
const headers = { Prefer: "wait=30" };
let task = await done(startVm({ path, headers }));
if (task.status === "pending") {
  task = await done(getTask({ path: { uuid: task.uuid }, query: { wait: 60 } }));
}
assert(task.status === "success" && !task.error, task);
assert((await done(getVm({ path }))).power_state === "Running", "it runs");
const metrics = await done(getVmMetrics({ path }));
assert(Number(metrics.VCPUs_number) > 0, metrics);
console.log(`${vm.name_label}: ${metrics.VCPUs_number} VCPUs since ${metrics.start_time}`);

const again = await refused(startVm({ path, headers }), 409);
assert(again.code === "VM_BAD_POWER_STATE" && again.task !== undefined, again);

const changed = await done(patchVm({ path, body: { name_label: "renamed", other_config: { smoke: "1", gone: null } } }));
assert("uuid" in changed && changed.name_label === "renamed", changed);

const network = await done(createNetwork({ body: { name_label: "from TypeScript" } }));
await destroyNetwork({ path: { uuid: network.uuid } });

const snapshot = await done(snapshotVm({ path, headers, body: { new_name: "before" } }));
assert(typeof snapshot.result === "string", snapshot);
assert((await done(getVmSnapshot({ path: { uuid: snapshot.result } }))).snapshot_of === vm.uuid, snapshot);

await logout();
await refused(listVms(), 401);
