"""What the README promises, through the client that openapi-generator makes."""

import sys

import xengate_client as x

client = x.ApiClient(x.Configuration(host=sys.argv[1]))
sessions, vms, tasks = x.SessionsApi(client), x.VMApi(client), x.TaskApi(client)

login = sessions.login(x.Credentials(username="root", password="simulated"))
assert login.token_type == "Bearer", login.token_type
client.configuration.access_token = login.token
backends = sessions.get_current_permissions().backends
assert backends[0].is_local_superuser, backends

page = vms.list_vms(limit=1000)
assert page.total == len(page.items) > 10, page.total
halted = [vm for vm in page.items if vm.power_state == "Halted" and not vm.is_control_domain]
vm = halted[0]

task = vms.start_vm(vm.uuid, prefer="wait=30")
if task.status == "pending":
    task = tasks.get_task(task.uuid, wait=60)
assert task.status == "success" and task.error is None, task
assert vms.get_vm(vm.uuid).power_state == "Running"

metrics = vms.get_vm_metrics(vm.uuid)
assert metrics.vcpus_number and metrics.vcpus_number > 0, metrics
print(f"{vm.name_label}: {metrics.vcpus_number} VCPUs since {metrics.start_time}")

# A failure is typed too.
try:
    vms.start_vm(vm.uuid, prefer="wait=30")
    raise AssertionError("a running VM was started")
except x.ApiException as error:
    problem = x.Problem.from_json(error.body)
    assert (error.status, problem.code) == (409, "VM_BAD_POWER_STATE"), error.body

# A patch says what it changes and no more.
changed = vms.patch_vm(vm.uuid, x.VmChanges(name_label="renamed", other_config={"smoke": "1"}))
assert changed.actual_instance.name_label == "renamed", changed
plan = vms.patch_vm(vm.uuid, x.VmChanges(other_config={"smoke": None}), dry_run=True)
assert plan.actual_instance.calls == ["VM.remove_from_other_config"], plan

# A task's result has its type: the uuid of the snapshot.
snapshot = vms.snapshot_vm(vm.uuid, x.SnapshotVmParameters(new_name="before"), prefer="wait=30")
assert vms.get_vm_snapshot(snapshot.result).snapshot_of == vm.uuid, snapshot

sessions.logout()
try:
    vms.list_vms()
    raise AssertionError("the token outlived its session")
except x.ApiException as error:
    assert error.status == 401, error
