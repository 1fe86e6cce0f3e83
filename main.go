// Command imagegate lets container images through to an approved registry only
// if they pass a policy. See the package documentation of gate, policy and
// promote, or run "imagegate help".
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/imagegate/imagegate/internal/cli"
)

func main() {
	cli.TuneMemory()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The first signal asks for a clean end, the second one does not ask.
	context.AfterFunc(ctx, stop)
	os.Exit(cli.Run(ctx, os.Args, cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
}
