// Command imagegate copies a container image from a staging registry to an approved registry only
// if the image passes a policy. See the package documentation of gate, policy and promote, or run
// "imagegate help".
package main

import (
	"os"

	"github.com/imagegate/imagegate/internal/cli"
)

func main() {
	os.Exit(cli.Main(os.Args, cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
}
