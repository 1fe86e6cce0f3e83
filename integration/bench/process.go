package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// process is a program to run and measure.
type process struct {
	name string
	args []string
	env  []string // additional environment variables
	exit int      // the expected exit code
	out  string   // the file for the output; if empty, start returns the output
}

// ran is the resource usage and the output of a process.
type ran struct {
	wall, cpu time.Duration
	peak      int64 // peak memory in bytes of the process or its largest child
	out, err  []byte
}

// start runs a process and waits until it ends. An unexpected exit code is an error.
func (p *place) start(ctx context.Context, c process) (*ran, error) {
	cmd := exec.CommandContext(ctx, c.name, c.args...)
	cmd.Env = append(p.environment(), c.env...)
	cmd.Dir = p.dir
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if c.out != "" {
		f, err := os.Create(c.out)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		cmd.Stdout = f
	}
	if err := forgetPeak(); err != nil {
		return nil, err
	}
	began := time.Now()
	err := cmd.Run()
	wall := time.Since(began)
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) {
		return nil, err
	}
	if code := cmd.ProcessState.ExitCode(); code != c.exit {
		return nil, fmt.Errorf("%s %q exited with code %d, want %d:\n%s%s", filepath.Base(c.name), c.args, code, c.exit, tail(stdout.Bytes()), tail(stderr.Bytes()))
	}
	state := cmd.ProcessState
	return &ran{wall: wall, cpu: state.UserTime() + state.SystemTime(), peak: peakMemory(state), out: stdout.Bytes(), err: stderr.Bytes()}, nil
}

// tail returns the last 4,000 bytes of the output of a process.
func tail(b []byte) []byte { return b[max(0, len(b)-4000):] }
