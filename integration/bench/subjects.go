package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"time"
)

// These are the names of the measured subjects in the results.
const (
	first      = "promote"
	firstPlain = "promote, without a decompression program"
	again      = "promote again"
	denied     = "check that denies"
	deniedWarm = "check again"
	pipeline   = "shell pipeline"
	floor      = "curl, igzip, sha256sum"
	help       = "--help"
	lint       = "policy lint"
)

// subject is a command line or script that the benchmark measures.
type subject struct {
	name string
	// run runs and measures the subject once.
	run func(*place, context.Context) (*Sample, error)
	// missing is the reason why the subject cannot run on this machine, or "".
	missing string
}

// subjects returns all subjects in the order of the runs. The order matters, because some subjects
// need the state that the previous subject leaves behind.
func subjects() []subject {
	return []subject{
		{name: pipeline, run: (*place).pipeline},
		{name: first, run: func(p *place, ctx context.Context) (*Sample, error) { return p.promote(ctx, true) }, missing: lacks("igzip")},
		{name: firstPlain, run: (*place).promotePlain},
		{name: again, run: func(p *place, ctx context.Context) (*Sample, error) { return p.promote(ctx, false) }},
		{name: denied, run: func(p *place, ctx context.Context) (*Sample, error) { return p.check(ctx, true) }},
		{name: deniedWarm, run: func(p *place, ctx context.Context) (*Sample, error) { return p.check(ctx, false) }},
		{name: floor, run: (*place).floor, missing: lacks("curl", "igzip", "sha256sum", "sh")},
		{name: help, run: func(p *place, ctx context.Context) (*Sample, error) {
			return p.imagegate(ctx, process{args: []string{"--help"}})
		}},
		{name: lint, run: func(p *place, ctx context.Context) (*Sample, error) {
			return p.imagegate(ctx, process{args: []string{"policy", "lint", "lenient.yaml"}})
		}},
	}
}

// lacks returns a message that names the first program that is not installed, or "" if all are
// installed.
func lacks(names ...string) string {
	for _, name := range names {
		if _, err := exec.LookPath(name); err != nil {
			return name + " is not installed"
		}
	}
	return ""
}

// promote runs "imagegate promote". If cold is set, it is the first promotion, with an empty cache
// and an empty approved registry.
func (p *place) promote(ctx context.Context, cold bool, env ...string) (*Sample, error) {
	if cold {
		if err := p.reset(); err != nil {
			return nil, err
		}
	}
	return p.gate(ctx, process{env: env, args: []string{"promote", p.staging.Ref("team/app:1"), p.approved.Ref("prod/app:1"),
		"--policy", "lenient.yaml", "--key", "cosign.key"}})
}

// promotePlain runs a first promotion with an empty PATH, so that imagegate decompresses layers
// itself.
func (p *place) promotePlain(ctx context.Context) (*Sample, error) {
	return p.promote(ctx, true, "PATH="+filepath.Join(p.dir, "none"))
}

// check runs "imagegate check" with a policy that denies the image.
func (p *place) check(ctx context.Context, cold bool) (*Sample, error) {
	if cold {
		if err := p.reset(); err != nil {
			return nil, err
		}
	}
	return p.gate(ctx, process{exit: 2, args: []string{"check", p.staging.Ref("team/app:1"), "--policy", "strict.yaml"}})
}

// gate runs imagegate and reads the stages from its log and the counts from its report.
func (p *place) gate(ctx context.Context, c process) (*Sample, error) {
	c.args = append(c.args, "--log-format", "json", "--output", "json=report.json")
	s, err := p.imagegate(ctx, c)
	if err != nil {
		return nil, err
	}
	p.count(s)
	return s, p.readReport(s)
}

func (p *place) imagegate(ctx context.Context, c process) (*Sample, error) {
	c.name = p.program("imagegate")
	r, err := p.start(ctx, c)
	if err != nil {
		return nil, err
	}
	s := &Sample{}
	s.add(r)
	s.Stages, err = stages(r.err, r.wall)
	return s, err
}

// stages reads the duration of each stage from imagegate's log, and adds the time outside of all
// stages as "other".
func stages(log []byte, whole time.Duration) ([]Stage, error) {
	var out []Stage
	left := whole.Seconds()
	for dec := json.NewDecoder(bytes.NewReader(log)); dec.More(); {
		var line struct {
			Message string  `json:"msg"`
			Seconds float64 `json:"seconds"`
		}
		if err := dec.Decode(&line); err != nil {
			return nil, fmt.Errorf("reading imagegate's log: %w", err)
		}
		if line.Seconds > 0 {
			out = append(out, Stage{Name: line.Message, Seconds: line.Seconds})
			left -= line.Seconds
		}
	}
	return append(out, Stage{Name: "other", Seconds: max(left, 0)}), nil
}

// floor measures the minimum time for reading the layers, with programs that only fetch, decompress
// and hash them.
func (p *place) floor(ctx context.Context) (*Sample, error) {
	manifest, err := p.image.image.Manifest()
	if err != nil {
		return nil, err
	}
	s := &Sample{}
	for _, l := range manifest.Layers {
		url := fmt.Sprintf("http://%s/v2/team/app/blobs/%s", p.staging.Host(), l.Digest)
		r, err := p.start(ctx, process{name: "sh", args: []string{"-c", `curl -sSf "$0" | igzip -dc | sha256sum`, url}})
		if err != nil {
			return nil, err
		}
		if len(r.err) > 0 {
			return nil, errors.New(string(tail(r.err)))
		}
		s.add(r)
	}
	p.count(s)
	return s, nil
}
