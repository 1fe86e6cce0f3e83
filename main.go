// Command imagegate lets container images through to an approved registry only
// if they pass a policy. See the package documentation of gate, policy and
// promote, or run "imagegate help".
package main

import (
	"os"

	"github.com/imagegate/imagegate/internal/cli"
)

func main() {
	os.Exit(cli.Main(os.Args, cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
}
