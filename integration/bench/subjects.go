package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// These are the names of the measured subjects in the results.
const (
	first          = "promote"
	firstPlain     = "promote, without a decompression program"
	again          = "promote again"
	rebuiltPromote = "promote of a rebuilt image"
	denied         = "check that denies"
	firstCheck     = "first check"
	checkAgain     = "check again"
	rebuiltCheck   = "check of a rebuilt image"
	manyServices   = "promote of 30 services on one base"
	tiny           = "check of a tiny image"
	tinyLarge      = "check of a tiny image, with 600,000 records"
	trivyFirst     = "Trivy, first"
	trivyAgain     = "Trivy again"
	trivyRebuilt   = "Trivy, rebuilt image"
	pipeline       = "shell pipeline"
	floor          = "curl, igzip, sha256sum"
	help           = "--help"
	lint           = "policy lint"
)

// subject is a command line or script that the benchmark measures.
type subject struct {
	name string
	// needs is the state of the scan cache and the approved registry before the run, and leaves the
	// state after the run.
	needs, leaves state
	// run runs and measures the subject once.
	run func(*place, context.Context) (*Sample, error)
	// missing is the reason why the subject cannot run on this machine, or "".
	missing string
	// once is true if the subject runs in the first round only.
	once bool
}

// subjects returns the selected subjects of an image in the order of the runs. In this order, few
// subjects need a preparation, because most of them find the state that the previous one left
// behind. A subject of Trivy follows the subject of imagegate that does the same work.
func (o options) subjects(image string) []subject {
	trivy := unbuilt(o.bin, "trivy", "trivy-database")
	all := []subject{
		{name: pipeline, needs: emptyState, leaves: otherState, run: (*place).pipeline},
		{name: first, needs: emptyState, leaves: promotedState, run: (*place).promoteImage, missing: lacks("igzip")},
		{name: firstPlain, needs: emptyState, leaves: promotedState, run: (*place).promotePlain},
		{name: again, needs: promotedState, leaves: promotedState, run: (*place).promoteImage},
		{name: rebuiltPromote, needs: promotedState, leaves: otherState, run: (*place).promoteRebuilt},
		{name: denied, needs: emptyState, leaves: otherState, run: (*place).checkDenied},
		{name: firstCheck, needs: emptyState, leaves: checkedState, run: (*place).checkImage},
		{name: trivyFirst, run: (*place).trivyFirst, missing: trivy},
		{name: checkAgain, needs: checkedState, leaves: checkedState, run: (*place).checkImage},
		{name: trivyAgain, run: (*place).trivyAgain, missing: trivy},
		{name: rebuiltCheck, needs: checkedState, leaves: otherState, run: (*place).checkRebuilt},
		{name: trivyRebuilt, run: (*place).trivyRebuilt, missing: trivy},
		{name: floor, run: (*place).floor, missing: lacks("curl", "igzip", "sha256sum", "sh")},
		{name: help, run: (*place).help},
		{name: lint, run: (*place).lint},
	}
	if image == small {
		omitted := ""
		if o.short {
			omitted = "omitted by -short"
		}
		all = append(all,
			subject{name: tiny, run: (*place).checkTiny, missing: omitted},
			subject{name: tinyLarge, run: (*place).checkTinyLarge, missing: omitted},
			subject{name: manyServices, needs: emptyState, leaves: otherState, run: (*place).services, missing: omitted, once: true})
	}
	return selected(all, o.only)
}

// selected returns the subjects whose name contains one of the words, which are separated by
// commas. Without words, it returns all subjects.
func selected(all []subject, words string) []subject {
	return slices.DeleteFunc(all, func(s subject) bool {
		return !slices.ContainsFunc(strings.Split(words, ","), func(word string) bool { return strings.Contains(s.name, word) })
	})
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

// unbuilt returns a message that names the first program that is not in the folder bin, or "" if all
// are there.
func unbuilt(bin string, names ...string) string {
	for _, name := range names {
		if _, err := os.Stat(filepath.Join(bin, name)); err != nil {
			return name + " is not built"
		}
	}
	return ""
}

// promote runs "imagegate promote" for an image in staging, such as "app:1".
func (p *place) promote(ctx context.Context, image string, env ...string) (*Sample, error) {
	return p.gate(ctx, process{env: env, args: []string{"promote", p.staging.Ref("team/" + image), p.approved.Ref("prod/" + image),
		"--policy", "lenient.yaml", "--key", "cosign.key"}})
}

func (p *place) promoteImage(ctx context.Context) (*Sample, error) { return p.promote(ctx, "app:1") }

// promotePlain runs "imagegate promote" with an empty PATH, so that imagegate decompresses layers
// itself.
func (p *place) promotePlain(ctx context.Context) (*Sample, error) {
	return p.promote(ctx, "app:1", "PATH="+filepath.Join(p.dir, "none"))
}

func (p *place) promoteRebuilt(ctx context.Context) (*Sample, error) {
	return p.withRebuilt(ctx, func(ctx context.Context, image string) (*Sample, error) { return p.promote(ctx, image) })
}

// check runs "imagegate check" with a policy that passes the image.
func (p *place) check(ctx context.Context, image string) (*Sample, error) {
	return p.gate(ctx, process{args: []string{"check", p.staging.Ref("team/" + image), "--policy", "lenient.yaml"}})
}

func (p *place) checkImage(ctx context.Context) (*Sample, error) { return p.check(ctx, "app:1") }

func (p *place) checkRebuilt(ctx context.Context) (*Sample, error) {
	return p.withRebuilt(ctx, p.check)
}

// checkDenied runs "imagegate check" with a policy that denies the image.
func (p *place) checkDenied(ctx context.Context) (*Sample, error) {
	return p.gate(ctx, process{exit: 2, args: []string{"check", p.staging.Ref("team/app:1"), "--policy", "strict.yaml"}})
}

func (p *place) help(ctx context.Context) (*Sample, error) {
	return p.imagegate(ctx, process{args: []string{"--help"}})
}

func (p *place) lint(ctx context.Context) (*Sample, error) {
	return p.imagegate(ctx, process{args: []string{"policy", "lint", "lenient.yaml"}})
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
