// Starts a VM and waits for it, with nothing but Go's standard library.
//
//	XENGATE_URL=http://127.0.0.1:8080 XENGATE_USER=root XENGATE_PASSWORD=… go run examples/client.go [NAME]
//
// Without a name it takes the first VM that is halted.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"time"
)

// Problem is what the gateway answers instead of what was asked for: RFC 9457, with a stable code.
type Problem struct {
	Status    int    `json:"status"`
	Code      string `json:"code"`
	Title     string `json:"title"`
	Detail    string `json:"detail"`
	Retryable bool   `json:"retryable"`
	RequestID string `json:"request_id"`
}

func (p *Problem) Error() string { return p.Code + ": " + p.Title + ": " + p.Detail }

// Task is something that the pool does, and how it ended.
type Task struct {
	UUID   string   `json:"uuid"`
	Status string   `json:"status"`
	Error  *Problem `json:"error"`
}

// VM has the fields that are used here, under the Xen-API's names.
type VM struct {
	UUID       string `json:"uuid"`
	Name       string `json:"name_label"`
	PowerState string `json:"power_state"`
}

// Gateway is a session of a gateway.
type Gateway struct {
	URL, Token string
	HTTP       http.Client
}

// Login begins a session; Logout ends it.
func Login(ctx context.Context, url, username, password string) (*Gateway, error) {
	gateway := &Gateway{URL: url, HTTP: http.Client{Timeout: 90 * time.Second}}
	var login struct{ Token string }
	body := map[string]string{"username": username, "password": password}
	if err := gateway.Ask(ctx, "POST", "/sessions", body, &login); err != nil {
		return nil, err
	}
	gateway.Token = login.Token
	return gateway, nil
}

// Logout ends the session.
func (g *Gateway) Logout(ctx context.Context) error {
	return g.Ask(ctx, "DELETE", "/sessions/current", nil, nil)
}

// Ask sends one request and reads the answer, which may be a *Problem.
func (g *Gateway) Ask(ctx context.Context, method, path string, body, into any) error {
	var content io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return err
		}
		content = bytes.NewReader(text)
	}
	request, err := http.NewRequestWithContext(ctx, method, g.URL+path, content)
	if err != nil {
		return err
	}
	request.Header.Set("Accept", "application/json")
	// What the pool runs as a task is waited for so long.
	request.Header.Set("Prefer", "wait=30")
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if g.Token != "" {
		request.Header.Set("Authorization", "Bearer "+g.Token)
	}
	answer, err := g.HTTP.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode >= 400 {
		problem := new(Problem)
		if err := json.NewDecoder(answer.Body).Decode(problem); err != nil {
			return fmt.Errorf("%s, and no problem document: %w", answer.Status, err)
		}
		return problem
	}
	if into == nil {
		return nil
	}
	return json.NewDecoder(answer.Body).Decode(into)
}

// Act runs an action until its task has ended.
func (g *Gateway) Act(ctx context.Context, path string) error {
	var task Task
	if err := g.Ask(ctx, "POST", path, nil, &task); err != nil {
		return err
	}
	for task.Status == "pending" {
		if err := g.Ask(ctx, "GET", "/tasks/"+task.UUID+"?wait=60", nil, &task); err != nil {
			return err
		}
	}
	if task.Error != nil {
		return task.Error
	}
	if task.Status != "success" {
		return errors.New("the task is " + task.Status)
	}
	return nil
}

func run(ctx context.Context) (err error) {
	gateway, err := Login(ctx, os.Getenv("XENGATE_URL"), os.Getenv("XENGATE_USER"), os.Getenv("XENGATE_PASSWORD"))
	if err != nil {
		return err
	}
	defer func() {
		if failed := gateway.Logout(ctx); err == nil {
			err = failed
		}
	}()
	filter := "power_state = Halted"
	if len(os.Args) > 1 {
		name, err := json.Marshal(os.Args[1])
		if err != nil {
			return err
		}
		filter += " and name_label = " + string(name)
	}
	query := url.Values{"filter": {filter}, "fields": {"uuid,name_label"}, "sort": {"name_label"}, "limit": {"1"}}
	var page struct{ Items []VM }
	if err := gateway.Ask(ctx, "GET", "/vms?"+query.Encode(), nil, &page); err != nil {
		return err
	}
	if len(page.Items) == 0 {
		return errors.New("no such VM is halted")
	}
	path := "/vms/" + page.Items[0].UUID
	if err := gateway.Act(ctx, path+"/actions/start"); err != nil {
		return err
	}
	var now VM
	if err := gateway.Ask(ctx, "GET", path, nil, &now); err != nil {
		return err
	}
	fmt.Printf("%s is %s\n", now.Name, now.PowerState)
	var problem *Problem
	if err := gateway.Act(ctx, path+"/actions/start"); errors.As(err, &problem) {
		fmt.Println("again:", problem.Code)
	}
	return nil
}

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
