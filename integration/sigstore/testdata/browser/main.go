// Command browser stands in for a web browser and the person before it: it visits
// the page that it is given, and wherever that leads. As a desktop's program for
// that it returns at once.
package main

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 1 {
		return exec.Command(os.Args[0], "visit", args[0]).Start()
	}
	resp, err := http.Get(args[1])
	if err != nil {
		return err
	}
	return resp.Body.Close()
}
