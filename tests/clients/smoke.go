// What the README promises, through the client that openapi-generator makes.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	x "example.com/clients/xengate"
)

func must(holds bool, what ...any) {
	if !holds {
		fmt.Fprintln(os.Stderr, append([]any{"not so:"}, what...)...)
		os.Exit(1)
	}
}

// failure is the problem that a refused request was answered with.
func failure(err error) x.Problem {
	var refused *x.GenericOpenAPIError
	must(errors.As(err, &refused), "a failure", err)
	problem, typed := refused.Model().(x.Problem)
	must(typed, "a problem", string(refused.Body()))
	return problem
}

func main() {
	configuration := x.NewConfiguration()
	configuration.Servers = x.ServerConfigurations{{URL: os.Args[1]}}
	gateway := x.NewAPIClient(configuration)
	ctx := context.Background()

	root := *x.NewCredentials("root", "simulated")
	login, _, err := gateway.SessionsAPI.Login(ctx).Credentials(root).Execute()
	must(err == nil, "login", err)
	ctx = context.WithValue(ctx, x.ContextAccessToken, login.Token)

	page, _, err := gateway.VMAPI.ListVms(ctx).Limit(1000).Execute()
	must(err == nil && len(page.Items) > 10 && page.Total == int64(len(page.Items)), "a page", err)
	var vm *x.Vm
	for i := range page.Items {
		if one := &page.Items[i]; one.GetPowerState() == "Halted" && !one.GetIsControlDomain() {
			vm = one
			break
		}
	}
	must(vm != nil, "a VM is halted")

	task, _, err := gateway.VMAPI.StartVm(ctx, vm.Uuid).Prefer("wait=30").Execute()
	must(err == nil, "start", err)
	if task.GetStatus() == "pending" {
		task, _, err = gateway.TaskAPI.GetTask(ctx, task.Uuid).Wait(60).Execute()
	}
	must(err == nil && task.GetStatus() == "success", "the task", err)
	now, _, err := gateway.VMAPI.GetVm(ctx, vm.Uuid).Execute()
	must(err == nil && now.GetPowerState() == "Running", "it runs", err)
	metrics, _, err := gateway.VMAPI.GetVmMetrics(ctx, vm.Uuid).Execute()
	must(err == nil && metrics.GetVCPUsNumber() > 0, "metrics", err)
	fmt.Printf("%s: %d VCPUs\n", vm.GetNameLabel(), metrics.GetVCPUsNumber())

	_, answer, err := gateway.VMAPI.StartVm(ctx, vm.Uuid).Prefer("wait=30").Execute()
	must(answer != nil && answer.StatusCode == 409, "a running VM was started")
	problem := failure(err)
	must(problem.Code == "VM_BAD_POWER_STATE" && problem.Task != nil, problem)

	changes := *x.NewVmChanges()
	changes.SetNameLabel("renamed")
	changed, _, err := gateway.VMAPI.PatchVm(ctx, vm.Uuid).VmChanges(changes).Execute()
	must(err == nil && changed.Vm != nil && changed.Vm.GetNameLabel() == "renamed", "patch", err)
	plan, _, err := gateway.VMAPI.PatchVm(ctx, vm.Uuid).VmChanges(changes).DryRun(true).Execute()
	must(err == nil && plan.ChangePlan != nil, "a dry run", err)

	// Making an object, where `NewNetwork` would be the name of two things.
	network := *x.NewNetworkCreate()
	network.SetNameLabel("from Go")
	made, _, err := gateway.NetworkAPI.CreateNetwork(ctx).NetworkCreate(network).Execute()
	must(err == nil && made.GetNameLabel() == "from Go", "create", err)
	_, err = gateway.NetworkAPI.DestroyNetwork(ctx, made.Uuid).Execute()
	must(err == nil, "destroy", err)

	named := *x.NewSnapshotVmParameters("before")
	result, _, err := gateway.VMAPI.SnapshotVm(ctx, vm.Uuid).SnapshotVmParameters(named).Prefer("wait=30").Execute()
	must(err == nil, "snapshot", err)
	snapshot, _, err := gateway.VMAPI.GetVmSnapshot(ctx, result.GetResult()).Execute()
	must(err == nil && snapshot.GetSnapshotOf() == vm.Uuid, "the snapshot", err)

	_, err = gateway.SessionsAPI.Logout(ctx).Execute()
	must(err == nil, "logout", err)
	_, _, err = gateway.VMAPI.ListVms(ctx).Execute()
	must(failure(err).Status == 401, "the token outlived its session")
}
